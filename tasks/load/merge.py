"""One batch into one table by key: new rows are copied straight in, changed ones updated, the rest left as they are.

What the table holds of the batch is read as key and `_hash`, never as whole rows:

1. nothing lies between the batch's least and greatest key (a first load, an appended tail): all rows are copied straight into the table;
2. about as many rows as the batch has lie there (a snapshot again): they are fetched by key range and compared in memory;
3. far more lie there (a small change to a big table), or the key has no order that both sides agree on: the batch's keys are copied to
   a temporary table and joined to the big one.

All of it happens in the caller's transaction. Unchanged rows are not rewritten, so `_batch` names the batch that last changed a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Literal

import polars as pl
import psycopg
from psycopg import sql

from tasks.batch import Counts
from tasks.errors import Transient
from tasks.load.binary_copy import copy_in, fetch
from tasks.load.columns import pg_type

Way = Literal["range", "keys"]

_RANGE_FACTOR = 2
_RANGE_SPARE = 1_000
_ORDERED = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.Date, pl.Datetime, pl.Time, pl.Boolean, pl.Binary)


def merge(
    conn: psycopg.Connection,
    table: sql.Composable,
    rows: pl.DataFrame,
    key: Sequence[str],
    newest: str | None,
    *,
    way: Way | None = None,
) -> Counts:
    """Bring the rows into the table.

    Parameters
    ----------
    rows: all columns of the table, `_batch`, `_row` and `_hash` included.
    newest: the column whose greatest value wins among rows of one key; an older row than the stored one counts as `duplicate`.
    way: how to read what is there; by default the range if it holds about as many rows as the batch.

    Raises
    ------
    Transient: another writer changed the rows in between.
    """
    kept = winners(rows, key, newest)
    counts = Counts(duplicate=rows.height - kept.height)
    if kept.is_empty():
        return counts
    stored = _stored(conn, table, kept, key, newest, way=way)
    if stored.is_empty():
        copy_in(conn, table, kept)
        counts.inserted = kept.height
        return counts
    judged = kept.lazy().join(stored.lazy(), on=list(key), how="left", maintain_order="left").with_columns(fate=_fate(newest)).collect()
    fates = dict(judged["fate"].value_counts().iter_rows())
    counts.unchanged, counts.updated, counts.inserted = fates.get(_SAME, 0), fates.get(_CHANGED, 0), fates.get(_NEW, 0)
    counts.duplicate += fates.get(_STALE, 0)
    _update(conn, table, judged.filter(fate=_CHANGED).select(*kept.columns, "_stored_hash"), key)
    copy_in(conn, table, judged.filter(fate=_NEW).select(kept.columns))
    return counts


def winners(rows: pl.DataFrame, key: Sequence[str], newest: str | None) -> pl.DataFrame:
    """One row per key, ordered by key (an index grows several times faster in order): the greatest `newest`, else the last `_row`."""
    if _strictly_ascending(rows, key):
        return rows
    order = [*key, *([newest] if newest and newest not in key else []), "_row"]
    ordered = rows.sort(order, nulls_last=False, maintain_order=True)
    last_of_key = reduce(or_, (pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in key))
    is_last = ordered.select(last_of_key | (pl.int_range(pl.len()) == pl.len() - 1)).to_series()
    return ordered if is_last.all() else ordered.filter(is_last)


def _strictly_ascending(rows: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether each key is greater than the one before: then there is nothing to sort and there are no duplicates."""
    greater, equal_so_far = pl.lit(False), pl.lit(True)
    for name in key:
        here, before = pl.col(name), pl.col(name).shift(1)
        greater = greater | (equal_so_far & (here > before))
        equal_so_far = equal_so_far & (here == before)
    return bool(rows.select(greater.slice(1).all()).item()) if rows.height > 1 else True


_NEW, _SAME, _STALE, _CHANGED = 0, 1, 2, 3


def _fate(newest: str | None) -> pl.Expr:
    """What becomes of a row beside what is stored for its key; without an age a row counts as older than any."""
    older = (
        pl.lit(False)
        if newest is None
        else (pl.col(newest) < pl.col("_stored_newest")) | (pl.col(newest).is_null() & pl.col("_stored_newest").is_not_null())
    )
    return (
        pl.when(pl.col("_stored_hash").is_null())
        .then(_NEW)
        .when(pl.col("_stored_hash") == pl.col("_hash"))
        .then(_SAME)
        .when(older)
        .then(_STALE)
        .otherwise(_CHANGED)
        .cast(pl.UInt8)
    )


def _stored(
    conn: psycopg.Connection, table: sql.Composable, kept: pl.DataFrame, key: Sequence[str], newest: str | None, *, way: Way | None
) -> pl.DataFrame:
    """Key, `_stored_hash` and `_stored_newest` of the rows that the table holds for this batch, and perhaps of some others."""
    read = [(name, kept.schema[name]) for name in key] + [("_stored_hash", pl.Int64())]
    picked = [sql.SQL("t.{0}").format(sql.Identifier(name)) for name in key] + [sql.SQL("t._hash AS _stored_hash")]
    if newest:
        read.append(("_stored_newest", kept.schema[newest]))
        picked.append(sql.SQL("t.{} AS _stored_newest").format(sql.Identifier(newest)))
    select = sql.SQL("SELECT {} FROM {} AS t").format(sql.SQL(", ").join(picked), table)
    ranged = _ordered_prefix(kept, key) if way != "keys" else []
    if ranged:
        most = _RANGE_FACTOR * kept.height + _RANGE_SPARE
        limit = sql.SQL("") if way == "range" else sql.SQL(" LIMIT {}").format(sql.Literal(most + 1))
        within = fetch(conn, read, sql.SQL("{} WHERE {}{}").format(select, _range(kept, ranged), limit))
        if way == "range" or within.height <= most:
            return within
    with _temporary(conn, table, kept.select(key), "millrace_keys") as keys:
        using = sql.SQL(", ").join(map(sql.Identifier, key))
        return fetch(conn, read, sql.SQL("{} JOIN {} AS k USING ({})").format(select, keys, using))


def _ordered_prefix(kept: pl.DataFrame, key: Sequence[str]) -> list[str]:
    """The leading columns of the key whose order is the same in Polars and PostgreSQL, whatever the collation."""
    prefix: list[str] = []
    for name in key:
        if not isinstance(kept.schema[name], (*_ORDERED, pl.Decimal)):
            break
        prefix.append(name)
    return prefix


def _range(kept: pl.DataFrame, columns: Sequence[str]) -> sql.Composable:
    """Condition that a row lies between the first and the last key of the batch, which is ordered by key."""
    names = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in columns)
    ends = []
    for end in (0, -1):
        values = [sql.SQL("{}::{}").format(sql.Literal(kept[name][end]), sql.SQL(pg_type(kept.schema[name]))) for name in columns]
        ends.append(sql.SQL(", ").join(values))
    # What holds of whole keys holds of their first column, and of a single column the planner can estimate how many rows that are;
    # of the comparison of keys alone it cannot, and reads the whole table for each batch.
    lead = sql.SQL("t.{}").format(sql.Identifier(columns[0]))
    first, last = (
        sql.SQL("{}::{}").format(sql.Literal(kept[columns[0]][end]), sql.SQL(pg_type(kept.schema[columns[0]]))) for end in (0, -1)
    )
    return sql.SQL("{0} BETWEEN {1} AND {2} AND ({3}) >= ({4}) AND ({3}) <= ({5})").format(lead, first, last, names, *ends)


@contextmanager
def _temporary(conn: psycopg.Connection, like: sql.Composable, frame: pl.DataFrame, name: str) -> Iterator[sql.Composable]:
    """A temporary table with the frame's rows, its columns typed as in the table `like`; gone after the block."""
    temporary = sql.Identifier("pg_temp", name)
    columns = sql.SQL(", ").join(
        sql.SQL("_hash AS _stored_hash") if column == "_stored_hash" else sql.Identifier(column) for column in frame.columns
    )
    create = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
    conn.execute(create.format(sql.Identifier(name), columns, like))
    copy_in(conn, temporary, frame)
    yield temporary
    conn.execute(sql.SQL("DROP TABLE {}").format(temporary))


def _update(conn: psycopg.Connection, table: sql.Composable, changed: pl.DataFrame, key: Sequence[str]) -> None:
    """Give the stored rows of these keys the new values, if they still are what they were judged by."""
    if changed.is_empty():
        return
    with _temporary(conn, table, changed, "millrace_changed") as source:
        update = update_statement(table, source, [name for name in changed.columns if name != "_stored_hash"], key)
        touched = conn.execute(sql.SQL("{} AND t._hash = s._stored_hash").format(update)).rowcount
    if touched != changed.height:
        raise Transient(
            f"{changed.height} rows were there to be updated, {touched} were found as they were afterwards",
            do="Nothing: the batch is loaded again.",
        )


def update_statement(table: sql.Composable, source: sql.Composable, columns: Sequence[str], key: Sequence[str]) -> sql.Composed:
    """UPDATE of all columns but the key from the rows of `source` with the same key."""
    setting = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in columns if name not in key)
    return sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(table, setting, source, same_key(key))


def same_key(key: Sequence[str]) -> sql.Composed:
    """Condition that `s` and `t` are rows of one key."""
    return sql.SQL(" AND ").join(sql.SQL("s.{0} = t.{0}").format(sql.Identifier(name)) for name in key)
