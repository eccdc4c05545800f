"""Backfills in the ledger: a window cut into chunks, each done, failed or missing, so that a second launch does what is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from tasks.batch import Interval


@dataclass(frozen=True, slots=True)
class Chunk:
    """One window of a backfill: start included, end not, in UTC."""

    backfill: int
    start: datetime
    end: datetime
    state: str = "missing"
    attempts: int = 0


MOST_CHUNKS = 10_000
"""A backfill of more chunks than this is a slip of the pen."""


def cut(window: Interval, step: timedelta) -> list[Interval]:
    """Cut a window into steps; the last one may be shorter. Together they cover the window once."""
    assert window.start is not None and window.end is not None  # noqa: S101 (the flow requires both)
    starts = [window.start]
    while starts[-1] + step < window.end:
        starts.append(starts[-1] + step)
    return [Interval(start, end) for start, end in zip(starts, [*starts[1:], window.end], strict=True)]


def open_backfill(conn: psycopg.Connection, pipeline: str, window: Interval, step: timedelta) -> int:
    """The unfinished backfill of this very window and step, else a new one with its chunks written down."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('millrace backfill ' || %s, 0))", (pipeline,))
    row = conn.execute(
        """SELECT id FROM ledger.backfill WHERE pipeline = %s AND start_at = %s AND end_at = %s AND chunk = %s AND state = 'running'
           ORDER BY id DESC LIMIT 1""",
        (pipeline, window.start, window.end, step),
    ).fetchone()
    if row:
        return int(row[0])
    row = conn.execute(
        "INSERT INTO ledger.backfill (pipeline, start_at, end_at, chunk) VALUES (%s, %s, %s, %s) RETURNING id",
        (pipeline, window.start, window.end, step),
    ).fetchone()
    assert row is not None  # noqa: S101 (INSERT … RETURNING always answers)
    conn.cursor().executemany(
        "INSERT INTO ledger.chunk (backfill_id, start_at, end_at) VALUES (%s, %s, %s)",
        [(row[0], part.start, part.end) for part in cut(window, step)],
    )
    return int(row[0])


def chunks(conn: psycopg.Connection, backfill: int) -> list[Chunk]:
    """All chunks of a backfill, in order of time."""
    rows = conn.execute(
        "SELECT backfill_id, start_at, end_at, state, attempts FROM ledger.chunk WHERE backfill_id = %s ORDER BY start_at", (backfill,)
    ).fetchall()
    return [Chunk(*row) for row in rows]


def begin_chunk(conn: psycopg.Connection, chunk: Chunk, flow_run_id: str | None) -> bool:
    """Note that a chunk is being worked on; false where another launch has done it meanwhile."""
    begun = conn.execute(
        """UPDATE ledger.chunk SET state = 'running', attempts = attempts + 1, flow_run_id = %s, error = NULL, updated_at = now()
           WHERE backfill_id = %s AND start_at = %s AND state <> 'done'""",
        (flow_run_id, chunk.backfill, chunk.start),
    )
    return begun.rowcount == 1


def end_chunk(conn: psycopg.Connection, chunk: Chunk, run_id: int | None, error: str | None) -> None:
    """Note a chunk as done, or failed with its reason; what another launch has done stays done."""
    state = "done" if error is None else "failed"
    conn.execute(
        """UPDATE ledger.chunk SET state = %s, run_id = %s, error = %s, updated_at = now()
           WHERE backfill_id = %s AND start_at = %s AND state <> 'done'""",
        (state, run_id, error, chunk.backfill, chunk.start),
    )


def end_backfill(conn: psycopg.Connection, backfill: int) -> None:
    """Note that every chunk is done."""
    conn.execute("UPDATE ledger.backfill SET state = 'completed', ended_at = now() WHERE id = %s", (backfill,))
