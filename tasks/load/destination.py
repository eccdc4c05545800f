"""What every destination (loader) offers the engine. A destination is a strategy with a table: `Upsert`, `Append`, `Replace`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl
import psycopg

from tasks.batch import Counts


@dataclass(frozen=True, slots=True)
class Column:
    """One promised column: name, Polars type, nullability, and what it means (becomes the column comment)."""

    name: str
    dtype: pl.DataType
    nullable: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The table a run writes to.

    Parameters
    ----------
    table: `schema.name` as the pipeline declares it.
    columns: the contract's columns, in order; the loader adds `_batch`, `_row` and `_hash`.
    pipeline, run: who writes, for names, comments and messages.
    staged: write to a staging twin of the table, swapped in by `finish` (full refresh, `Replace`).
    """

    table: str
    columns: Sequence[Column]
    pipeline: str
    run: int
    staged: bool = False


@runtime_checkable
class Destination(Protocol):
    """A destination inside the ledger's PostgreSQL database: what it does is part of the engine's transaction.

    Every method is called inside an open transaction that the engine commits or rolls back; none of them commits.
    """

    @property
    def table(self) -> str:
        """`schema.name` of the table."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify a row; empty where rows have no identity. Never null: the engine quarantines null keys."""
        ...

    @property
    def always_staged(self) -> bool:
        """Whether every run replaces the table (`Replace`), so that the engine stages it without being asked."""
        ...

    def prepare(self, conn: psycopg.Connection, target: Target) -> None:
        """Make the table (and the staging twin) ready: create, add new nullable columns, or raise Misconfigured that names each difference."""
        ...

    def load(self, conn: psycopg.Connection, target: Target, rows: pl.DataFrame, batch: int) -> Counts:
        """Load one batch; `rows` has the contract's columns in the contract's types and `_row` (UInt32).

        Returns inserted, updated, unchanged and duplicate; their sum is `rows.height`.
        Raises Transient when another writer got in between (the engine rolls back and calls again).
        """
        ...

    def finish(self, conn: psycopg.Connection, target: Target, rows_before: int | None) -> Counts:
        """End of a complete run. For a staged target: check it, swap it in, drop the twin; returns what the swap did to the table.

        Raises BadData when the swap is refused (empty, or shrunk past the limit); the table is then as it was.
        """
        ...

    def discard(self, conn: psycopg.Connection, target: Target) -> None:
        """Drop the staging twin of a run that will not be finished; harmless when there is none."""
        ...
