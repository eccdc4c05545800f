"""`millrace quarantine`: the records that broke their contract, with their reasons and where they came from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deployments.cli.run import AS_JSON

quarantine = typer.Typer(help="Look at the records that broke their contract.", no_args_is_help=True, rich_markup_mode=None)

NAME = Annotated[str | None, typer.Argument(help="Only records of this pipeline.")]


@quarantine.command("list")
def list_quarantine(
    name: NAME = None,
    records: Annotated[bool, typer.Option("--records/--by-rule", help="Single records, or groups by column and rule.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Records to show.")] = 20,
    after: Annotated[int, typer.Option(help="Only records with a greater id, to page on.")] = 0,
    as_json: AS_JSON = False,
) -> None:
    """List open records, grouped by column and rule, or one by one.

    A record that breaks two rules counts in both groups.

    \b
    Examples:
      millrace quarantine list
      millrace quarantine list nyc_flights --records --limit 5
      millrace quarantine list --json
    """
    from deployments.cli.ledger import ledger
    from deployments.cli.preview import why
    from deployments.cli.printing import print_json, stdout, table
    from tasks.ledger.reading import quarantine_groups, quarantine_records

    with ledger() as conn:
        rows = [] if conn is None else quarantine_records(conn, name, limit, after) if records else quarantine_groups(conn, name)
    out = stdout()
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("No record is in quarantine.")
    elif records:
        lines = [{**row, "run": row["run_id"], "batch": row["batch_id"], "why": why(row["errors"])} for row in rows]
        out.print(table(lines, ["id", "pipeline", "run", "batch", "row", "seen", "created_at", "why"]))
        out.print("One of them in full: millrace quarantine show ID")
    else:
        out.print(table(rows, ["pipeline", "column", "rule", "records", "example", "last_seen_at"]))
        out.print("An example in full: millrace quarantine show ID")


@quarantine.command("show")
def show_record(
    record: Annotated[int, typer.Argument(metavar="ID", help="The record's number, from the list.")],
    as_json: AS_JSON = False,
) -> None:
    """Show one record: raw input beside its errors, and where it came from.

    \b
    Examples:
      millrace quarantine show 1
      millrace quarantine show 1 --json
    """
    from blocks.errors import Misconfigured
    from deployments.cli.ledger import ledger
    from deployments.cli.printing import print_json
    from tasks.ledger.reading import quarantine_record

    with ledger() as conn:
        found = None if conn is None else quarantine_record(conn, record)
    if found is None:
        raise Misconfigured(
            "There is no record of this id in quarantine", do="See `millrace quarantine list --records`", setting="ID", value=record
        )
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    """Every field of the input, the broken rules beside it; rules over several fields at the end."""
    from deployments.cli.printing import stdout, table

    out, errors = stdout(), found["errors"]
    lines = [{"field": field, "raw": value, "broken_rule": _rules(errors, field)} for field, value in found["raw"].items()]
    absent = [error for error in errors if error.get("column") not in found["raw"]]
    lines += [{"field": error.get("column") or "(whole row)", "raw": error.get("value"), "broken_rule": error["rule"]} for error in absent]
    out.print(
        table(
            [line | {"raw": repr(line["raw"])} for line in lines],
            ["field", "raw", "broken_rule"],
            title=f"Record {found['id']} of {found['pipeline']}",
        )
    )
    where = {
        "status": found["status"],
        "run": found["run_id"],
        "batch": found["batch_id"],
        "row": found["row"],
        "origin": found["origin"],
        "landed file": found["landed_file"],
        "landed at": found["landed_at"],
        "contract version": found["contract_version"],
        "seen": found["seen"],
        "last seen at": found["last_seen_at"],
    }
    out.print(table([{"": key, "where it came from": value} for key, value in where.items()], ["", "where it came from"]))


def _rules(errors: list[dict[str, Any]], field: str) -> str:
    broken = [error for error in errors if error.get("column") == field]
    return ", ".join(error["rule"] + (" (warning)" if error.get("severity") == "warn" else "") for error in broken)
