"""What goes to the terminal: tables for people on standard output, JSON for programs, notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 200
"""Columns of a table that is not printed to a terminal, so that a log or a pipe gets it whole."""

NAMES = {"pipeline", "state", "when", "kind", "cursor", "id", "run", "batch", "carrier_name", "month"}
"""Columns that are read as one word and so never broken."""

ROWS = ("landed", "inserted", "updated", "unchanged", "duplicate", "filtered", "quarantined")
"""What comes in, and what becomes of it."""


def stdout() -> Console:
    """The console for results."""
    return _console(stderr=False)


def stderr() -> Console:
    """The console for notes, progress and failures."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output; moments are ISO 8601, and what JSON has no form for is text."""
    json.dump(value, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
    sys.stdout.write("\n")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> Table:
    """A table with these columns of the rows; numbers stand right, with separators.

    Parameters
    ----------
    columns: keys of the rows; the heading is the key with spaces for underscores.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        number = any(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for row in rows)
        heading = name.replace("_", "\n" if number else " ")
        made.add_column(heading, justify="right" if number else "left", no_wrap=number or name in NAMES, overflow="fold")
    for row in rows:
        made.add_row(*(Text(shown(row.get(name)), style=_style(name, row.get(name))) for name in columns))
    return made


def shown(value: Any) -> str:
    """A value for people: separators in numbers, moments to the second in UTC, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)


def _style(name: str, value: Any) -> str:
    styles = {"failed": "red", "crashed": "red", "running": "cyan", "completed": "green"}
    if name == "state":
        return styles.get(str(value), "")
    if name == "balance":
        return "green" if value == 0 else "bold red"
    return ""


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPED_WIDTH, highlight=False, emoji=False, markup=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if type(value).__name__ == "Decimal" else str(value)
