"""`millrace run`: one run of a pipeline, now, in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.exits import INTERRUPTED
from deployments.cli.logs import LogFormat, start_logging

if TYPE_CHECKING:
    from flows._pipeline import PipelineFlow
    from tasks.engine.closing import Report
    from tasks.engine.session import Parameters

AS_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run, and how."""

    made: PipelineFlow
    parameters: Parameters
    dry_run: bool


def moment(text: str) -> datetime:
    """A date or an ISO 8601 moment from the command line; without a zone it is UTC."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write 2013-01-31 or 2013-01-31T06:00:00+00:00") from None
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)


def run(
    name: Annotated[str, typer.Argument(help="The pipeline, as its file is called.")],
    start_date: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="DATE", help="Only what the source dates at or after this (UTC).")
    ] = None,
    end_date: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="DATE", help="Only what the source dates before this (UTC).")
    ] = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Read everything, check it, swap it in.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most so many rows; the cursor stays.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, check and count; write nothing.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="MILLRACE_LOG_FORMAT", help="Form of log lines on standard error.")
    ] = LogFormat.text,
    as_json: AS_JSON = False,
) -> None:
    """Run a pipeline now and print what became of every row.

    With a Prefect server (PREFECT_API_URL, `millrace up`, or your profile's) the run is recorded there, with history,
    artifacts and events; without one the same engine runs plainly. A run that died is continued.

    \b
    Examples:
      millrace run nyc_planes
      millrace run nyc_weather --start-date 2013-02-01 --end-date 2013-03-01
      millrace run nyc_flights --full-refresh --json
      millrace run nyc_flights --dry-run --limit 1000
    """
    from deployments.cli.pipelines import load
    from deployments.cli.printing import stderr
    from deployments.cli.server import require_answer, use_server

    url = use_server()
    made = load(name)
    from tasks.engine.session import Parameters

    bar = sys.stderr.isatty() and log_format is LogFormat.text and not as_json
    start_logging(log_format, quiet=bar)
    asked = Asked(made, Parameters(start_date, end_date, full_refresh, limit), dry_run)
    if url:
        require_answer(url)
    elif log_format is LogFormat.text:
        stderr().print("No Prefect server is configured: running plainly; the ledger keeps the history all the same.", style="dim")
    try:
        with _bar(asked) if bar and not dry_run else nullcontext():
            report = _inside_prefect(asked) if url else _plainly(asked)
    except KeyboardInterrupt:
        stderr().print("Interrupted. What was loaded stays; the same command goes on from there.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    _print(report, asked, as_json=as_json)


def _plainly(asked: Asked) -> Report:
    from flows import spec_of
    from tasks.engine.plain import run_plainly
    from tasks.engine.trying import try_run

    spec = spec_of(asked.made)
    return try_run(spec, asked.parameters) if asked.dry_run else run_plainly(spec, asked.parameters)


def _inside_prefect(asked: Asked) -> Report:
    """The pipeline as a flow run; whatever becomes of it, the link to its page is printed."""
    from prefect.utilities.urls import url_for

    from deployments.cli.printing import stderr

    given = asked.parameters
    state: Any = asked.made(
        start_date=given.start_date,
        end_date=given.end_date,
        full_refresh=given.full_refresh,
        limit=given.limit,
        dry_run=asked.dry_run,
        return_state=True,
    )
    if link := url_for("flow-run", state.state_details.flow_run_id):
        stderr().print(f"In the UI: {link}", style="dim", soft_wrap=True)
    report: Report = state.result()
    return report


@contextmanager
def _bar(asked: Asked) -> Iterator[None]:
    from blocks.warehouse import find_warehouse
    from deployments.cli.progress import progress_bar
    from flows import spec_of

    spec = spec_of(asked.made)
    with progress_bar(find_warehouse(spec.warehouse), spec.name):
        yield


def _print(report: Report, asked: Asked, *, as_json: bool) -> None:
    from deployments.cli.counts import counts_line, print_counts
    from deployments.cli.printing import print_json, stderr, stdout

    told = report.to_json()
    if as_json:
        print_json(told | {"dry_run": asked.dry_run})
        return
    out = stdout()
    title = f"{report.pipeline}, dry run: nothing was written" if asked.dry_run else f"{report.pipeline}, run {report.run}"
    print_counts([counts_line(told)], ["kind"], title=title)
    for alert in report.alerts:
        stderr().print(f"Alert: {alert}", style="yellow")
    if report.counts.quarantined and not asked.dry_run:
        out.print(f"{report.counts.quarantined:,} records are in quarantine: millrace quarantine list {report.pipeline}")
