"""Lookups of referenced values: which of a batch's values exist in another table."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import polars as pl
import psycopg
from psycopg import sql

from tasks.contract import Reference
from tasks.errors import Misconfigured

if TYPE_CHECKING:
    from blocks.warehouse import Warehouse

WHOLE_COLUMN_ROWS = 2_000_000
"""Referenced tables up to about this many rows are fetched once per run; larger ones are asked per batch."""


class Lookup(Protocol):
    """Answers which of the values exist; the engine passes `References`, a test a dictionary's method."""

    def missing(self, reference: Reference, values: pl.Series) -> pl.Series:
        """Boolean series: true where the value is not null and not in the referenced column."""
        ...


@dataclass
class References:
    """Looks up referenced values in the warehouse; whole columns are remembered for the length of a run.

    Parameters
    ----------
    warehouse: where the referenced tables lie.
    """

    warehouse: Warehouse
    _known: dict[tuple[str, str], pl.Series | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def missing(self, reference: Reference, values: pl.Series) -> pl.Series:
        """Boolean series: true where the value is not null and not in the referenced column.

        Raises Misconfigured when the referenced table or column does not exist.
        """
        with self._lock:
            spot = (reference.table, reference.target)
            if spot not in self._known:
                self._known[spot] = self._whole_column(reference, values.dtype)
        known = self._known[spot]
        if known is None:
            known = self._asked(reference, values)
        return values.is_not_null() & ~values.is_in(known.implode())

    def _whole_column(self, reference: Reference, dtype: pl.DataType) -> pl.Series | None:
        """All distinct values of the referenced column, or None where the table is too large to hold."""
        with self.warehouse.connect(autocommit=True) as conn:
            row = conn.execute(
                "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = to_regclass(%s)", (_quoted(reference.table),)
            ).fetchone()
            if row is None:
                raise _unknown(reference)
            if row[0] > WHOLE_COLUMN_ROWS:
                return None
            # the statistics may be of a time when the table was small
            query = sql.SQL("{} LIMIT {}").format(_select(reference), sql.Literal(WHOLE_COLUMN_ROWS + 1))
            found = _column(conn, query, None, reference, dtype)
            return found if found.len() <= WHOLE_COLUMN_ROWS else None

    def _asked(self, reference: Reference, values: pl.Series) -> pl.Series:
        distinct = values.drop_nulls().unique().to_list()
        with self.warehouse.connect(autocommit=True) as conn:
            query = sql.SQL("{} WHERE {} = ANY(%s)").format(_select(reference), sql.Identifier(reference.target))
            return _column(conn, query, distinct, reference, values.dtype)


def _column(
    conn: psycopg.Connection, query: sql.Composed, values: list[object] | None, reference: Reference, dtype: pl.DataType
) -> pl.Series:
    try:
        cursor = conn.execute(query, (values,) if values is not None else None)
        return pl.Series([value for (value,) in cursor.fetchall()], dtype=dtype, strict=False)
    except psycopg.errors.UndefinedColumn as error:
        raise _unknown(reference) from error


def _select(reference: Reference) -> sql.Composed:
    schema, _, table = reference.table.partition(".")
    return sql.SQL("SELECT DISTINCT {0} FROM {1}").format(sql.Identifier(reference.target), sql.Identifier(schema, table))


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def _unknown(reference: Reference) -> Misconfigured:
    return Misconfigured(
        f"Column {reference.column!r} references {reference.table}.{reference.target}, which does not exist",
        do=f"Run the pipeline that loads {reference.table} first, or correct references= in the contract",
        setting="references",
        value=f"{reference.table}.{reference.target}",
    )
