"""`millrace status`: how every pipeline stands, or the history of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deployments.cli.run import AS_JSON

FIRST = ["pipeline", "state", "when"]
LAST = ["cursor", "open"]


def status(
    name: Annotated[str | None, typer.Argument(help="One pipeline, for the history of its runs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs of the history, newest first.")] = 10,
    as_json: AS_JSON = False,
) -> None:
    """Show the last run of every pipeline, or the runs of one, from the ledger.

    \b
    Examples:
      millrace status
      millrace status nyc_flights --limit 3
      millrace status --json
    """
    from deployments.cli.ledger import ledger
    from deployments.cli.printing import print_json, stdout
    from tasks.ledger.reading import pipelines_status, run_history

    with ledger() as conn:
        rows = [] if conn is None else run_history(conn, name, limit) if name else pipelines_status(conn)
    if as_json:
        print_json(rows)
    elif not rows:
        stdout().print(_nothing(name))
    elif name:
        _print_history(name, rows)
    else:
        _print_all(rows)


def _nothing(name: str | None) -> str:
    from deployments.cli.ledger import NOTHING_YET

    return f"No run of {name} yet. Start one with: millrace run {name}" if name else NOTHING_YET


def _print_all(rows: list[dict[str, Any]]) -> None:
    from deployments.cli.counts import print_counts
    from deployments.cli.printing import stdout

    out = stdout()
    lines = [_line(row) | {"cursor": row["cursor"], "open": row["open_quarantine"]} for row in rows]
    print_counts(lines, FIRST, LAST)
    out.print("`open`: records that wait in quarantine. Times are UTC. The runs of one: millrace status NAME", style="dim")
    for row in rows:
        _print_trouble(row)


def _print_history(name: str, rows: list[dict[str, Any]]) -> None:
    from deployments.cli.counts import print_counts
    from deployments.cli.printing import stdout, table

    out = stdout()
    lines = [_line(row) | {"cursor": row["cursor_to"]} for row in rows]
    print_counts(lines, ["run", "state", "when", "kind"], ["cursor"], title=f"{name}, newest first")
    stages = list(dict.fromkeys(stage for row in rows for stage in row["seconds"]))
    if stages:
        spent = [
            {"run": row["run_id"], **{stage: row["seconds"].get(stage) for stage in stages}, "attempts": row["attempts"]} for row in rows
        ]
        out.print(table(spent, ["run", *stages, "attempts"], title="Seconds by stage, summed over parallel workers"))
    for row in rows:
        _print_trouble(row)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    from deployments.cli.counts import counts_line

    return {"pipeline": row["pipeline"], "state": row["state"], "when": row["started_at"]} | counts_line(row)


def _print_trouble(row: dict[str, Any]) -> None:
    """Why a run failed and what to do, and what a person should look at in one that did not."""
    from rich.text import Text

    from deployments.cli.printing import stdout

    failed, out = row["failure"], stdout()
    if failed:
        said = Text.assemble((f"{row['pipeline']} run {row['run_id']}: ", "bold red"), failed["message"])
        for heading, key in (("State", "state"), ("Do now", "do"), ("Command", "command")):
            said.append(f"\n  {heading:<8}", "bold").append(failed[key])
        out.print(said, soft_wrap=True)
    for alert in row["alerts"] or []:
        out.print(f"{row['pipeline']} run {row['run_id']} alert: {alert}", style="yellow", soft_wrap=True)
