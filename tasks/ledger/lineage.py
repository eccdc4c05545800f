"""A view per target table that spells out what `_batch` and `_row` lead back to."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tasks.pipeline import Pipeline


def ensure_lineage_view(conn: psycopg.Connection, pipeline: Pipeline) -> None:
    """Create `lineage.<schema>_<table>`: for each row its key, run, landed file, row in it, source, versions and times.

    All but the key begin with an underscore, so that a key called `origin` or `run_id` keeps its name.
    """
    schema, _, table = pipeline.destination.table.partition(".")
    name = f"{schema}_{table}"[:63]
    if conn.execute("SELECT 1 FROM pg_views WHERE schemaname = 'lineage' AND viewname = %s", (name,)).fetchone():
        return
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('millrace lineage', 0))")
    conn.execute("CREATE SCHEMA IF NOT EXISTS lineage")
    key = sql.SQL("").join(sql.SQL("t.{}, ").format(sql.Identifier(column)) for column in pipeline.destination.key)
    taken = set(pipeline.destination.key)  # a key may be called `origin` itself; then the batch's is `_origin`
    batch = sql.SQL(", ").join(
        sql.SQL("l.{} AS {}").format(sql.Identifier(column), sql.Identifier(f"_{shown}" if shown in taken else shown))
        for column, shown in _BATCH.items()
    )
    conn.execute(
        sql.SQL(
            "CREATE OR REPLACE VIEW {} AS SELECT {}t._batch, t._row, t._hash, {} FROM {} t LEFT JOIN ledger.lineage l ON l.batch_id = t._batch"
        ).format(sql.Identifier("lineage", name), key, batch, sql.Identifier(schema, table))
    )


_BATCH = {
    **{name: name for name in ("pipeline", "run_id")},
    "uri": "landed_file",
    "digest": "landed_digest",
    **{name: name for name in ("origin", "landed_at", "loaded_at", "contract_version", "pipeline_version", "flow_run_id")},
}
"""What the view tells of a row's batch: column of `ledger.lineage` → name in the view."""
