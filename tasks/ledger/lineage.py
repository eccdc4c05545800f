"""A view per target table that spells out what `_batch` and `_row` lead back to."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tasks.pipeline import Pipeline


def ensure_lineage_view(conn: psycopg.Connection, pipeline: Pipeline) -> None:
    """Create `lineage.<schema>_<table>`: for each row its run, landed file, row in it, source, versions and times."""
    schema, _, table = pipeline.destination.table.partition(".")
    name = f"{schema}_{table}"[:63]
    if conn.execute("SELECT 1 FROM pg_views WHERE schemaname = 'lineage' AND viewname = %s", (name,)).fetchone():
        return
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('millrace lineage', 0))")
    conn.execute("CREATE SCHEMA IF NOT EXISTS lineage")
    key = sql.SQL("").join(sql.SQL("t.{}, ").format(sql.Identifier(column)) for column in pipeline.destination.key)
    conn.execute(
        sql.SQL(
            """CREATE OR REPLACE VIEW {} AS SELECT {}t._batch, t._row, t._hash, l.pipeline, l.run_id, l.uri AS landed_file, l.digest AS landed_digest,
               l.origin, l.landed_at, l.loaded_at, l.contract_version, l.pipeline_version, l.flow_run_id
               FROM {} t LEFT JOIN ledger.lineage l ON l.batch_id = t._batch"""
        ).format(sql.Identifier("lineage", name), key, sql.Identifier(schema, table))
    )
