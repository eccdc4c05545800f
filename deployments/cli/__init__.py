"""The `millrace` command: one file per sub-command, assembled here; heavy parts are imported by the command that needs them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code.

    Parameters
    ----------
    arguments: the words after `millrace`; the process's own when left out.

    Raises
    ------
    SystemExit: always; the codes are in `deployments.cli.exits`.
    """
    from deployments.cli.app import app
    from deployments.cli.exits import OK, report_failure

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="millrace")
    except Exception as error:  # noqa: BLE001 (the outermost place: whatever it is, the user is told and the code says so)
        sys.exit(report_failure(error, as_json="--json" in words))
    sys.exit(OK)
