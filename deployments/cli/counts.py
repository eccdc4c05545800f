"""A run as one line of a table: what came in, what became of it, and whether it adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployments.cli.printing import ROWS, shown, stdout, table

if TYPE_CHECKING:
    from rich.table import Table


def counts_line(run: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of one run, from the ledger's `run_log` or from a report's JSON, ready to print.

    `balance` is landed (and derived) rows less those whose fate is known: 0 for every run that completed.
    """
    landed = run["landed"] + run["derived"]
    total = float(run.get("duration_seconds") or (run.get("seconds") or {}).get("total") or 0.0)
    counted = {name: run[name] for name in ROWS} | {"balance": landed - sum(run[name] for name in ROWS if name != "landed")}
    extra = {name: run[name] for name in ("deleted", "warned") if run.get(name)}
    return {
        "run": run.get("run_id") or run.get("run"),
        "kind": run["kind"],
        **counted,
        **extra,
        "seconds": total,
        "rows/s": round(run["landed"] / total) if total else 0,
    }


def print_counts(rows: Sequence[Mapping[str, Any]], first: Sequence[str], last: Sequence[str] = (), *, title: str | None = None) -> None:
    """Print lines of counts with columns before and after them; on a terminal too narrow for it, a column for each line instead.

    Parameters
    ----------
    rows: what `counts_line` made, with the other columns. first: columns before the counts; the first of all names the line.
    last: columns after them. `deleted` and `warned` appear only where there are any.
    """
    out = stdout()
    extra = [name for name in ("deleted", "warned") if any(row.get(name) for row in rows)]
    columns = [*first, *ROWS, "balance", *extra, "seconds", "rows/s", *last]
    widths = [max(len(name), *(len(shown(row.get(name))) for row in rows)) for name in columns]
    if sum(widths) + 2 * len(columns) <= out.width:
        out.print(table(rows, columns, title=title))
        return
    for number, group in enumerate(_fitting(rows, columns, out.width)):
        out.print(_turned(group, columns, title if number == 0 else None))


def _fitting(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int) -> list[list[Mapping[str, Any]]]:
    """The lines in groups of as many as stand side by side, one at least."""
    groups: list[list[Mapping[str, Any]]] = []
    room = 0
    for row in rows:
        needed = max(len(shown(row.get(name))) for name in columns) + 2
        if not groups or needed > room:
            groups.append([])
            room = width - max(map(len, columns)) - 2
        groups[-1].append(row)
        room -= needed
    return groups


def _turned(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str | None) -> Table:
    """The same with lines and columns exchanged."""
    heads = [f"{shown(row.get(columns[0]))}" for row in rows]
    lines = [{"": name, **{str(at): row.get(name) for at, row in enumerate(rows)}} for name in columns[1:]]
    made = table(lines, ["", *(str(at) for at in range(len(rows)))], title=title)
    for column, head in zip(made.columns[1:], heads, strict=True):
        column.header, column.justify, column.no_wrap = head, "right", True
    return made
