"""`Upsert`: one row per key, the latest version wins."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import psycopg

from tasks.batch import Counts
from tasks.errors import Misconfigured
from tasks.load.destination import Target
from tasks.load.merge import merge
from tasks.load.strategy import Strategy
from tasks.load.tables import Table


@dataclass(frozen=True)
class Upsert(Strategy):
    """Keep one row per key: insert new keys, update changed rows, leave unchanged ones as they are.

    Parameters
    ----------
    table: `schema.name`.
    key: the columns that identify a row, never null.
    newest: the column whose greatest value wins where a key comes twice, in a batch or against the table; an older row than the
        stored one counts as `duplicate`, a null is older than any value. Without it the row that comes last wins.
    max_shrink: the share of its rows that a full refresh may take from the table.

    Raises
    ------
    Misconfigured: no key, a malformed table name.
    """

    table: str
    key: tuple[str, ...] = ()
    newest: str | None = None

    def __post_init__(self) -> None:
        self._check()
        if not self.key:
            raise Misconfigured("Upsert needs a key", do='Name the columns that identify a row, key=("id",), or use Append.', setting="key")

    @property
    def _declared(self) -> tuple[str, tuple[str, ...]]:
        return self.table, self.key

    def prepare(self, conn: psycopg.Connection, target: Target) -> None:
        """As for every strategy; `newest` must be a column of the contract."""
        if self.newest and self.newest not in {column.name for column in target.columns}:
            raise Misconfigured(
                "`newest` names a column that is not in the contract", do="Add it.", setting="newest", value=self.newest
            ).at(pipeline=target.pipeline)
        super().prepare(conn, target)

    def _load(self, conn: psycopg.Connection, table: Table, rows: pl.DataFrame) -> Counts:
        return merge(conn, table.sql, rows, self.key, self.newest)
