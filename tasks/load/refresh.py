"""A full refresh: the staging twin is checked and becomes the table's content, as a difference and in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from tasks.batch import Counts
from tasks.errors import BadData
from tasks.load.merge import same_key, update_statement
from tasks.load.tables import LINEAGE, Table


def check_size(conn: psycopg.Connection, table: Table, rows_before: int | None, max_shrink: float) -> None:
    """Raise BadData when the twin is empty, or smaller than the table by more than the share `max_shrink`."""
    before, after = _count(conn, table) if rows_before is None else rows_before, _count(conn, table.twin)
    if max_shrink >= 1 or ((after > 0 or before == 0) and after >= before * (1 - max_shrink)):
        return
    least = max(1, round(before * (1 - max_shrink)))
    raise BadData(
        f"{table} would shrink from {before:,} to {after:,} rows; at least {least:,} are asked for, so it is left as it was",
        do="See whether the source is complete. If it really has so few rows, raise max_shrink (1.0 allows any) and run again.",
        setting="max_shrink",
        value=max_shrink,
    )


def apply_twin(conn: psycopg.Connection, table: Table, columns: Sequence[str], key: Sequence[str]) -> Counts:
    """Delete what is gone, update what changed, insert what is new; returns how many rows met which fate."""
    names = [*columns, *(column.name for column in LINEAGE)]
    conn.execute(sql.SQL("ANALYZE {}").format(table.twin.sql))
    total = _count(conn, table.twin)
    if conn.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(table.sql)).fetchone() is None:
        return Counts(inserted=_run(conn, "INSERT INTO {t} ({columns}) SELECT {columns} FROM {s}", table, names))
    counts = _by_key(conn, table, names, key) if key else _by_content(conn, table, names)
    counts.unchanged = total - counts.inserted - counts.updated
    return counts


def _by_key(conn: psycopg.Connection, table: Table, names: Sequence[str], key: Sequence[str]) -> Counts:
    """The difference of two tables whose rows have an identity."""
    same = same_key(key)
    deleted = _run(conn, "DELETE FROM {t} AS t WHERE NOT EXISTS (SELECT FROM {s} AS s WHERE {same})", table, names, same)
    changed = sql.SQL("{} AND s._hash <> t._hash").format(update_statement(table.sql, table.twin.sql, names, key))
    updated = conn.execute(changed).rowcount
    missing = "INSERT INTO {t} ({columns}) SELECT {columns} FROM {s} AS s WHERE NOT EXISTS (SELECT FROM {t} AS t WHERE {same})"
    return Counts(inserted=_run(conn, missing, table, names, same), updated=updated, deleted=deleted)


def _by_content(conn: psycopg.Connection, table: Table, names: Sequence[str]) -> Counts:
    """The difference of two bags of rows: of each content as many copies are kept as both have."""
    surplus = """DELETE FROM {t} AS t USING (
        SELECT ctid AS place, _hash, row_number() OVER (PARTITION BY _hash) AS copy FROM {t}
    ) AS o LEFT JOIN (SELECT _hash, count(*) AS copies FROM {s} GROUP BY _hash) AS s USING (_hash)
    WHERE t.ctid = o.place AND o.copy > coalesce(s.copies, 0)"""
    lacking = """INSERT INTO {t} ({columns}) SELECT {columns} FROM (
        SELECT *, row_number() OVER (PARTITION BY _hash) AS "copy of many" FROM {s}
    ) AS s LEFT JOIN (SELECT _hash AS "its hash", count(*) AS copies FROM {t} GROUP BY _hash) AS t ON s._hash = t."its hash"
    WHERE "copy of many" > coalesce(t.copies, 0)"""
    deleted = _run(conn, surplus, table, names)
    return Counts(inserted=_run(conn, lacking, table, names), deleted=deleted)


def _run(conn: psycopg.Connection, statement: str, table: Table, names: Sequence[str], same: sql.Composable | None = None) -> int:
    """Execute a statement of this file about the table {t} and its twin {s}; returns the rows that it touched."""
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    filled = sql.SQL(statement).format(t=table.sql, s=table.twin.sql, columns=columns, same=same)
    return conn.execute(filled).rowcount


def _count(conn: psycopg.Connection, table: Table) -> int:
    found = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table.sql)).fetchone()
    return int(found[0]) if found else 0
