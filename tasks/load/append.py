"""`Append`: every row is kept, for events and logs that have no identity."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import psycopg

from tasks.batch import Counts
from tasks.load.binary_copy import copy_in
from tasks.load.strategy import Strategy
from tasks.load.tables import Table


@dataclass(frozen=True)
class Append(Strategy):
    """Insert all rows of every batch, equal ones as well.

    Parameters
    ----------
    table: `schema.name`.
    max_shrink: the share of its rows that a full refresh may take from the table.
    """

    table: str

    def __post_init__(self) -> None:
        self._check()

    @property
    def key(self) -> tuple[str, ...]:
        """None: rows have no identity."""
        return ()

    @property
    def _declared(self) -> tuple[str, tuple[str, ...]]:
        return self.table, ()

    def _load(self, conn: psycopg.Connection, table: Table, rows: pl.DataFrame) -> Counts:
        copy_in(conn, table.sql, rows)
        return Counts(inserted=rows.height)
