"""Exit codes, and what a failed command says: one readable block, or one JSON object, and never a bare traceback.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed, or the data is wrong |
| 2 | wrong usage, or a setting, block, contract or table is wrong: a person must act |
| 3 | a failure that will probably pass: try again |
| 130 | interrupted |
"""

from __future__ import annotations

import os
import traceback
from typing import Any

from blocks.errors import MillraceError, Misconfigured, Transient, shortened

OK, FAILED, MISUSED, TRY_AGAIN, INTERRUPTED = 0, 1, 2, 3, 130


def code_of(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Transient):
        return TRY_AGAIN
    return MISUSED if isinstance(error, Misconfigured) else FAILED


def failure(error: BaseException) -> dict[str, Any]:
    """What is known of an error: kind, what, where, value, do."""
    if not isinstance(error, MillraceError):
        do = "This is no failure that Millrace knows; set MILLRACE_DEBUG=1 to see where it came from"
        return {"kind": type(error).__name__, "what": str(error) or type(error).__name__, "where": {}, "value": None, "do": do}
    where = {name: getattr(error, name) for name in ("pipeline", "batch", "row", "setting") if getattr(error, name) is not None}
    seen = None if error.value is None else shortened(error.value)
    return {"kind": type(error).__name__, "what": error.what, "where": where, "value": seen, "do": error.do}


def report_failure(error: Exception, *, as_json: bool) -> int:
    """Tell the user about an error that ended a command; returns the exit code.

    Parameters
    ----------
    as_json: print `{"error": …}` on standard output, for programs, and not a block on standard error.
    """
    told, code = failure(error), code_of(error)
    if os.environ.get("MILLRACE_DEBUG"):
        traceback.print_exception(error)
    if as_json:
        from deployments.cli.printing import print_json

        print_json({"error": {**told, "exit_code": code}})
    else:
        _print_block(told)
    return code


def _print_block(told: dict[str, Any]) -> None:
    from rich.text import Text

    from deployments.cli.printing import stderr

    where = ", ".join(f"{name} {value}" for name, value in told["where"].items())
    lines = {"Where": where, "Value": told["value"], "Do now": told["do"].rstrip(".") + "."}
    block = Text.assemble((f"{told['kind']}: ", "bold red"), told["what"].rstrip(".") + ".")
    for name, said in lines.items():
        if said:
            block.append(f"\n  {name:<7}", "bold").append(said)
    stderr().print(block, soft_wrap=True)
