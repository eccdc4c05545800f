"""What `Upsert`, `Append` and `Replace` share: the table made ready, a batch stamped with its lineage, a full refresh finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import polars as pl
import psycopg

from tasks.batch import Counts
from tasks.errors import Misconfigured
from tasks.load.columns import NESTED, canonical
from tasks.load.destination import Target
from tasks.load.failures import explained
from tasks.load.hashing import content_hash
from tasks.load.refresh import apply_twin, check_size
from tasks.load.tables import Table, drop_twin, make_ready, make_twin


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """Base of the PostgreSQL destinations; a subclass says how a batch gets into a table.

    Parameters
    ----------
    max_shrink: the share of its rows that a full refresh may take from the table at most, from 0 to 1; 1 also allows it to be emptied.
    """

    max_shrink: float = 0.5

    @property
    @abstractmethod
    def _declared(self) -> tuple[str, tuple[str, ...]]:
        """Table and key, as the subclass holds them."""

    @property
    def always_staged(self) -> bool:
        """Whether every run replaces the table."""
        return False

    def _check(self) -> None:
        """Refuse settings that cannot work, when the pipeline's file is read."""
        table, key = self._declared
        Table.named(table)
        if not 0 <= self.max_shrink <= 1:
            raise Misconfigured(
                "max_shrink is a share from 0 to 1", do="Write 0.5 for half of the rows.", setting="max_shrink", value=self.max_shrink
            )
        if len(set(key)) != len(key) or isinstance(key, str):
            raise Misconfigured("A key is a tuple of distinct columns", do='Write key=("id",), with the comma.', setting="key", value=key)

    def prepare(self, conn: psycopg.Connection, target: Target) -> None:
        """Create the table or grow it by new nullable columns; for a staged target create the twin as well.

        Raises
        ------
        Misconfigured: the table is somebody else's or differs from the contract; each difference is named.
        Transient: another run creates the same table or schema at this moment.
        """
        table, (_, key) = Table.named(target.table), self._declared
        for column in target.columns:
            if column.name in key and (column.nullable or isinstance(column.dtype, (*NESTED, pl.Duration, pl.Null))):
                what = "may be null" if column.nullable else f"is a {column.dtype}"
                raise Misconfigured(f"Key column {column.name!r} {what}", do="Identify rows by another column.", setting="key").at(
                    pipeline=target.pipeline
                )
        with explained(str(table), target.pipeline):
            make_ready(conn, table, target.columns, key, f"Loaded by the Millrace pipeline {target.pipeline}.")
            if target.staged:
                make_twin(conn, table, target.columns, key, target.run)

    def load(self, conn: psycopg.Connection, target: Target, rows: pl.DataFrame, batch: int) -> Counts:
        """Load one batch into the table, or into its twin when the target is staged; the counts sum up to its rows.

        Raises
        ------
        Transient: another writer got in between; roll back and call again.
        BadData: PostgreSQL refuses a value.
        """
        table = Table.named(target.table)
        into = table.twin if target.staged else table
        stamped = _stamped(target, rows, batch)
        with explained(str(table), target.pipeline, batch):
            return self._load(conn, into, stamped)

    @abstractmethod
    def _load(self, conn: psycopg.Connection, table: Table, rows: pl.DataFrame) -> Counts:
        """Get the stamped rows of one batch into the table."""

    def finish(self, conn: psycopg.Connection, target: Target, rows_before: int | None) -> Counts:
        """Make the table equal to its twin and drop the twin; nothing to do for a target that is not staged.

        Only differences are written, in the caller's transaction: readers see the old table until it commits, views and grants stay,
        unchanged rows keep the batch that last changed them.

        Parameters
        ----------
        rows_before: what the shrinkage is measured against; the table's present rows when None.

        Raises
        ------
        BadData: the new content is empty or smaller than `max_shrink` allows; the table is as it was.
        """
        if not target.staged:
            return Counts()
        table, (_, key) = Table.named(target.table), self._declared
        with explained(str(table), target.pipeline):
            check_size(conn, table, rows_before, self.max_shrink)
            counts = apply_twin(conn, table, [column.name for column in target.columns], key)
            drop_twin(conn, table)
        return counts

    def discard(self, conn: psycopg.Connection, target: Target) -> None:
        """Drop the staging twin of a run that will not be finished; harmless when there is none."""
        with explained(target.table, target.pipeline):
            drop_twin(conn, Table.named(target.table))


def _stamped(target: Target, rows: pl.DataFrame, batch: int) -> pl.DataFrame:
    """The contract's columns in canonical form, followed by `_batch`, `_row` and `_hash`."""
    wrong = [f"{c.name!r} is {rows.schema.get(c.name)}, promised {c.dtype}" for c in target.columns if rows.schema.get(c.name) != c.dtype]
    if wrong:  # binary COPY would store the bytes of a wrong type without a word
        raise Misconfigured(f"A batch does not have the contract's types: {'; '.join(wrong)}", do="Cast in the transform.").at(
            pipeline=target.pipeline, batch=batch
        )
    names = [column.name for column in target.columns]
    plain = rows.select(*(canonical(name, rows.schema[name]) for name in names), pl.col("_row").cast(pl.Int32))
    hashes = content_hash(plain, target.columns)
    return plain.select(*names, pl.lit(batch, pl.Int32).alias("_batch"), "_row", hashes)
