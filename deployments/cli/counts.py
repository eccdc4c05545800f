"""A run as one line of a table: what came in, what became of it, and whether it adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployments.cli.printing import ROWS, table

if TYPE_CHECKING:
    from rich.table import Table

NARROW = 120
"""Terminals with fewer columns get the counts without what can be read elsewhere."""


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


def counts_table(
    rows: Sequence[Mapping[str, Any]], first: Sequence[str], last: Sequence[str] = (), *, title: str | None = None, width: int = 999
) -> Table:
    """Lines of counts with columns before and after them; `deleted` and `warned` appear only where there are any."""
    extra = [name for name in ("deleted", "warned") if any(row.get(name) for row in rows)]
    behind = ["seconds", "rows/s", *last] if width >= NARROW else [name for name in last if name not in ("cursor", "when")]
    return table(rows, [*first, *ROWS, "balance", *extra, *behind], title=title)
