"""Questions that people ask the ledger: how pipelines stand, what ran, what is in quarantine."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


def pipelines_status(conn: psycopg.Connection, pipeline: str | None = None) -> list[Row]:
    """One row per pipeline: its last run, its counts, where its cursor stands, how many records are in quarantine."""
    return _rows(
        conn,
        """SELECT DISTINCT ON (r.pipeline) r.*, c.position ->> 'cursor' AS cursor, coalesce(q.open, 0) AS open_quarantine
           FROM ledger.run_log r LEFT JOIN ledger.checkpoint c ON c.pipeline = r.pipeline AND c.partition = ''
           LEFT JOIN (SELECT pipeline, count(*) AS open FROM ledger.quarantine WHERE status = 'open' GROUP BY pipeline) q ON q.pipeline = r.pipeline
           WHERE %(pipeline)s::text IS NULL OR r.pipeline = %(pipeline)s ORDER BY r.pipeline, r.run_id DESC""",
        {"pipeline": pipeline},
    )


def run_history(conn: psycopg.Connection, pipeline: str | None, limit: int) -> list[Row]:
    """The latest runs, newest first."""
    return _rows(
        conn,
        "SELECT * FROM ledger.run_log WHERE %(pipeline)s::text IS NULL OR pipeline = %(pipeline)s ORDER BY run_id DESC LIMIT %(limit)s",
        {"pipeline": pipeline, "limit": limit},
    )


def quarantine_groups(conn: psycopg.Connection, pipeline: str | None) -> list[Row]:
    """Open records grouped by pipeline, column and rule, most first; a record with two errors counts in both groups."""
    return _rows(
        conn,
        """SELECT q.pipeline, e ->> 'column' AS column, e ->> 'rule' AS rule, count(*) AS records, min(q.id) AS example, max(q.last_seen_at) AS last_seen_at
           FROM ledger.quarantine q CROSS JOIN LATERAL jsonb_array_elements(q.errors) e
           WHERE q.status = 'open' AND e ->> 'severity' <> 'warn' AND (%(pipeline)s::text IS NULL OR q.pipeline = %(pipeline)s)
           GROUP BY 1, 2, 3 ORDER BY records DESC""",
        {"pipeline": pipeline},
    )


def quarantine_records(conn: psycopg.Connection, pipeline: str | None, limit: int, after: int = 0) -> list[Row]:
    """Open records in order of their ids, from behind `after`."""
    return _rows(
        conn,
        """SELECT id, pipeline, run_id, batch_id, row, errors, seen, created_at FROM ledger.quarantine
           WHERE status = 'open' AND id > %(after)s AND (%(pipeline)s::text IS NULL OR pipeline = %(pipeline)s) ORDER BY id LIMIT %(limit)s""",
        {"pipeline": pipeline, "limit": limit, "after": after},
    )


def quarantine_record(conn: psycopg.Connection, record: int) -> Row | None:
    """One record with raw input, errors and the file it came from; None where there is none of that id."""
    rows = _rows(
        conn,
        """SELECT q.*, encode(q.digest, 'hex') AS digest, b.uri AS landed_file, b.origin, b.landed_at FROM ledger.quarantine q
           JOIN ledger.batch b ON b.id = q.batch_id WHERE q.id = %s""",
        (record,),
    )
    return rows[0] if rows else None


def _rows(conn: psycopg.Connection, query: str, parameters: Any) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
