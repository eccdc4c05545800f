"""`Replace`: the table is what the source holds now."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import psycopg

from tasks.batch import Counts
from tasks.load.binary_copy import copy_in
from tasks.load.merge import merge
from tasks.load.strategy import Strategy
from tasks.load.tables import Table


@dataclass(frozen=True)
class Replace(Strategy):
    """Make the table equal to the source at the end of every complete run; rows that the source no longer has are deleted.

    Parameters
    ----------
    table: `schema.name`.
    key: the columns that identify a row; of rows with one key the last wins. Without a key equal rows are kept as often as they come.
    max_shrink: the share of its rows that one run may take from the table; a run that would take more is refused and changes nothing.
    """

    table: str
    key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check()

    @property
    def _declared(self) -> tuple[str, tuple[str, ...]]:
        return self.table, self.key

    @property
    def always_staged(self) -> bool:
        """True: a batch never touches the table itself."""
        return True

    def _load(self, conn: psycopg.Connection, table: Table, rows: pl.DataFrame) -> Counts:
        if self.key:
            return merge(conn, table.sql, rows, self.key, None)
        copy_in(conn, table.sql, rows)
        return Counts(inserted=rows.height)
