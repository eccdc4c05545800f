"""`millrace preview`: the first rows of a source through transform and contract, and nothing written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.run import AS_JSON

if TYPE_CHECKING:
    import polars as pl

    from tasks.engine.trying import Preview

CELL = 32
"""Characters of a value that are shown; JSON has all of them."""


def preview(
    name: Annotated[str, typer.Argument(help="The pipeline, as its file is called.")],
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="Rows to read.")] = 20,
    as_json: AS_JSON = False,
) -> None:
    """Show what the contract makes of a source's first rows; nothing is written, the ledger included.

    \b
    Examples:
      millrace preview nyc_planes
      millrace preview nyc_weather --rows 5 --json
    """
    from deployments.cli.pipelines import load
    from deployments.cli.printing import print_json
    from deployments.cli.server import use_server

    use_server()
    made = load(name)
    from flows import spec_of
    from tasks.engine.trying import preview as look

    seen = look(spec_of(made), rows)
    told = _told(seen)
    if as_json:
        print_json({"pipeline": name, **told})
    else:
        _print(name, told)


def _told(seen: Preview) -> dict[str, Any]:
    """The preview as plain data: good rows, rejects with reasons, and the type of each column before and after."""
    refined = seen.refined
    after = dict(refined.good.schema)
    types = [
        {"column": column, "source": _type(seen.landed, column), "contract": str(after[column]) if column in after else "not loaded"}
        for column in [*seen.landed.columns, *(column for column in after if column not in seen.landed.columns and column != "_row")]
    ]
    rejects = [
        {"row": row["row"], "reasons": json.loads(row["errors"]), "raw": json.loads(row["raw"])}
        for row in (refined.rejects.to_dicts() if refined.rejects.width == 3 else [])
    ]
    return {
        "good": refined.good.drop("_row", strict=False).to_dicts(),
        "rejects": rejects,
        "types": types,
        "counts": refined.counts.to_json(),
    }


def _type(frame: pl.DataFrame, column: str) -> str:
    return str(frame.schema[column]) if column in frame.columns else "absent"


def _print(name: str, told: dict[str, Any]) -> None:
    from deployments.cli.printing import stdout, table

    out = stdout()
    if not told["types"]:
        out.print("The source has no rows.")
        return
    good, rejects = told["good"], told["rejects"]
    out.print(table(told["types"], ["column", "source", "contract"], title=f"{name}: types"))
    if good:
        cut = [{column: _cut("" if value is None else str(value)) for column, value in row.items()} for row in good]
        out.print(table(cut, list(good[0]), title=f"{len(good)} good rows"))
    if rejects:
        lines = [
            {"row": row["row"], "why": why(row["reasons"]), "raw": _cut(json.dumps(row["raw"], ensure_ascii=False), 120)} for row in rejects
        ]
        out.print(table(lines, ["row", "why", "raw"], title=f"{len(rejects)} rows that would go to quarantine"))
    out.print(", ".join(f"{count} {what}" for what, count in told["counts"].items() if count) + "; nothing was written.")


def why(reasons: list[dict[str, Any]]) -> str:
    """The reasons of one record in a line: `speed breaks greater_than(0) with '-1'`."""
    return "; ".join(f"{reason.get('column') or 'the row'} breaks {reason['rule']}{_with(reason)}" for reason in reasons)


def _with(reason: dict[str, Any]) -> str:
    return f" with {reason['value']!r}" if reason.get("value") is not None and reason.get("column") else ""


def _cut(text: str, most: int = CELL) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
