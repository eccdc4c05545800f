"""`millrace demo`: all of it on real data, twice, in a few minutes; ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from deployments.cli.exits import FAILED, INTERRUPTED
from deployments.cli.run import AS_JSON

if TYPE_CHECKING:
    from pathlib import Path

    from deployments.demo.run import Shown
    from deployments.demo.scene import Scene


def demo(as_json: AS_JSON = False) -> None:
    """Sync, check, quarantine and model the flights that left New York in 2013, twice, with a Prefect server and worker.

    Files, a REST API and a source database are served from this machine. Everything is kept in the state folder
    (MILLRACE_STATE, default .millrace); your own Prefect profile and warehouse are not touched. Nothing is left running.

    \b
    Examples:
      millrace demo
      MILLRACE_STATE=/tmp/millrace millrace demo --json
    """
    from blocks.settings import settings
    from deployments.cli.printing import print_json, stderr, stdout

    state = settings().state
    own_prefect(state)
    from deployments.demo.run import run_demo

    out = stdout()

    def say(step: str, seconds: float) -> None:
        (stderr() if as_json else out).print(f"{seconds:6.1f} s  {step}")

    def first_round(stage: Scene, shown: Shown) -> None:
        if not as_json:
            _print_first(shown)

    try:
        shown = run_demo(state, say, first_round)
    except KeyboardInterrupt:
        stderr().print("Interrupted; nothing is left running.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(shown.to_json() | {"unchanged": shown.unchanged})
    else:
        _print_second(shown)
    if not shown.unchanged:
        raise typer.Exit(FAILED)


def own_prefect(state: Path) -> None:
    """Give this process a Prefect of the state folder, whose client writes nothing between our lines but warnings.

    Call it before anything imports Prefect: the user's profile and home are then not even read.
    """
    import logging
    import os

    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    (state / "prefect").mkdir(parents=True, exist_ok=True)
    os.environ.update(PREFECT_HOME=str(state / "prefect"), DO_NOT_TRACK="1")
    import prefect  # noqa: F401 (it sets its logging up when it is imported)

    from deployments.cli.logs import LogFormat, start_logging

    start_logging(LogFormat.text, quiet=True)
    logging.getLogger("prefect").setLevel(logging.WARNING)


def print_runs(runs: list[dict[str, Any]], title: str) -> None:
    """A line of counts for each pipeline."""
    from deployments.cli.counts import counts_line, print_counts

    print_counts(
        [{"pipeline": run["pipeline"], "state": run["state"]} | counts_line(run) for run in runs], ["pipeline", "state"], title=title
    )


def _print_first(shown: Shown) -> None:
    from deployments.cli.printing import stdout, table

    out = stdout()
    out.print()
    print_runs(shown.first, "What became of every row")
    cut = [{**one, "raw": one["raw"][:100] + ("…" if len(one["raw"]) > 100 else "")} for one in shown.quarantine]
    out.print(table(cut, ["id", "pipeline", "column", "rule", "value", "raw"], title="From the quarantine, one record for each reason"))
    mart = [{name: float(value) if type(value).__name__ == "Decimal" else value for name, value in row.items()} for row in shown.mart]
    if mart:
        out.print(table(mart, list(mart[0]), title="marts.delay_by_carrier_month: the busiest months, mean delays in minutes"))
    out.print(f"Prefect's UI, while this runs: {shown.ui_url}\n")


def _print_second(shown: Shown) -> None:
    from deployments.cli.printing import stdout

    out = stdout()
    out.print()
    print_runs(shown.second, "The second time")
    if shown.unchanged:
        out.print("Nothing was loaded twice, and every row is accounted for.", style="green")
    else:
        out.print("The second round changed rows that it should have found unchanged.", style="bold red")
    out.print(
        f"{shown.seconds:.0f} seconds. Look around in the UI with `make up`, or on the command line with `millrace status` and `millrace quarantine list`."
    )
