"""Runs in the ledger: opened, continued after an interruption, and closed with their sums checked."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tasks.batch import Batch, Counts, Position

Kind = Literal["incremental", "interval", "full_refresh", "limited"]
COUNTS = tuple(Counts().to_json())
STALE_AFTER_HOURS = 6
"""An interrupted full refresh older than this starts over: half of it would show another day."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the ledger has it when an attempt begins.

    Parameters
    ----------
    id, attempt: which, and the how manieth try; the attempt's number also fences off a dead one that wakes up.
    cursor_from: where the run began. resume: where this attempt goes on; equals `cursor_from` at first.
    read_to: where the source ended, when an earlier attempt had read all of it; then only loading is left.
    rows_before: rows in the target when the run began, for the safety of a swap.
    continued: an earlier attempt of this run was interrupted.
    seq: number of the next batch to land.
    taken_back: loaded batches that are read again and whose rows must leave the target first.
    """

    id: int
    attempt: int
    kind: Kind
    cursor_from: Position
    resume: Position
    read_to: Position | None
    rows_before: int | None
    continued: bool
    seq: int
    taken_back: tuple[int, ...] = ()


def checkpoint(conn: psycopg.Connection, pipeline: str) -> Position:
    """Where the last complete read of a pipeline ended; the very beginning for a new one."""
    row = conn.execute("SELECT position FROM ledger.checkpoint WHERE pipeline = %s AND partition = ''", (pipeline,)).fetchone()
    return Position.from_json(row[0] if row else None)


def seen_items(conn: psycopg.Connection, pipeline: str) -> dict[str, str]:
    """URI → digest of the objects that were loaded."""
    return dict(conn.execute("SELECT uri, digest FROM ledger.item WHERE pipeline = %s", (pipeline,)).fetchall())


def start(conn: psycopg.Connection, pipeline: str, kind: Kind, parameters: Mapping[str, Any], facts: Mapping[str, Any]) -> Run:
    """Begin a new run. `facts`: partition, source, destination, versions, rows_before, flow_run_id."""
    begin = Position() if kind == "full_refresh" else Position(cursor=checkpoint(conn, pipeline).cursor)
    row = conn.execute(
        """INSERT INTO ledger.run (pipeline, partition, kind, parameters, source, destination, cursor_from, versions, rows_before, flow_run_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            pipeline,
            facts["partition"],
            kind,
            Jsonb(dict(parameters)),
            facts["source"],
            facts["destination"],
            Jsonb(begin.to_json()),
            Jsonb(facts["versions"]),
            facts["rows_before"],
            facts["flow_run_id"],
        ),
    ).fetchone()
    assert row is not None  # noqa: S101 (INSERT … RETURNING always answers)
    begin_attempt(conn, row[0], 1, facts["flow_run_id"])
    return Run(row[0], 1, kind, begin, begin, None, facts["rows_before"], continued=False, seq=0)


def bury(conn: psycopg.Connection, pipeline: str, partition: str, *, whole_table: bool) -> None:
    """Mark what still calls itself running as crashed: whoever holds the lock of its partition, or of the table, knows that it is dead.

    Whoever holds the lock of any partition knows as well that no full refresh lives, as that would hold the whole table.
    """
    where = {"pipeline": pipeline, "partition": partition, "all": whole_table}
    conn.execute(
        """UPDATE ledger.attempt a SET outcome = 'crashed', ended_at = now() FROM ledger.run r
           WHERE r.id = a.run_id AND r.pipeline = %(pipeline)s AND a.outcome = 'running'
             AND (%(all)s OR r.partition = %(partition)s OR r.kind = 'full_refresh')""",
        where,
    )
    conn.execute(
        """UPDATE ledger.run SET state = 'crashed' WHERE pipeline = %(pipeline)s AND state = 'running'
           AND (%(all)s OR partition = %(partition)s OR kind = 'full_refresh')""",
        where,
    )


def interrupted(
    conn: psycopg.Connection, pipeline: str, kind: Kind, parameters: Mapping[str, Any], versions: Mapping[str, Any]
) -> int | None:
    """The newest run that ended without completing and that a new run with these parameters should continue.

    Only the newest run of its kind counts, so that what was superseded is not brought back; a full refresh is continued only
    while nothing else has written since, its first half is not stale, and contract and pipeline are what made that half. One whose
    swap was refused had read everything: the next one reads the source anew. A window is read anew when the pipeline has loaded
    something else since: what waits of it in the landing may be older than what the table has by now.
    """
    if kind == "limited":
        return None
    row = conn.execute(
        """SELECT id, state, started_at > now() - %s * interval '1 hour' AS fresh,
                  id = (SELECT max(id) FROM ledger.run WHERE pipeline = %s AND kind <> 'limited') AS newest,
                  state = 'failed' AND read_to IS NOT NULL AND failure ->> 'kind' = 'BadData'
                  AND NOT EXISTS (SELECT FROM ledger.batch b WHERE b.run_id = run.id AND b.state = 'landed') AS refused,
                  EXISTS (SELECT FROM ledger.batch b JOIN ledger.run r ON r.id = b.run_id WHERE r.pipeline = run.pipeline
                          AND r.kind <> 'interval' AND b.loaded_at > run.started_at) AS overtaken,
                  versions
           FROM ledger.run WHERE pipeline = %s AND kind = %s AND (kind = 'incremental' OR parameters = %s) ORDER BY id DESC LIMIT 1""",
        (STALE_AFTER_HOURS, pipeline, pipeline, kind, Jsonb(dict(parameters))),
    ).fetchone()
    if row is None or row[1] not in ("failed", "crashed"):
        return None
    if kind == "full_refresh":
        return row[0] if row[2] and row[3] and not row[4] and same_code(row[6], versions) else None
    return None if kind == "interval" and row[5] else row[0]


def same_code(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether contract and pipeline are what they were."""
    return all(before.get(name) == now.get(name) for name in ("contract", "pipeline"))


def pending(conn: psycopg.Connection, run_id: int) -> list[Batch]:
    """Batches that were landed and not yet loaded, in order."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM ledger.batch WHERE run_id = %s AND state = 'landed' ORDER BY seq", (run_id,)).fetchall()
    return [
        Batch(
            r["id"],
            run_id,
            r["pipeline"],
            r["seq"],
            r["uri"],
            r["landed"],
            r["bytes"],
            r["digest"],
            Position.from_json(r["position"]),
            adopted=True,
        )
        for r in rows
    ]


def landed_files(conn: psycopg.Connection, run_id: int) -> set[str]:
    """Every file of a run that the ledger knows, discarded ones too."""
    return {uri for (uri,) in conn.execute("SELECT uri FROM ledger.batch WHERE run_id = %s", (run_id,)).fetchall()}


def loaded_batches(conn: psycopg.Connection, run: Run) -> list[tuple[str, dict[str, str]]]:
    """File and finished objects of each loaded batch of a run, in order."""
    query = "SELECT uri, position -> 'items' FROM ledger.batch WHERE run_id = %s AND state = 'loaded' ORDER BY seq"
    return [(uri, items or {}) for uri, items in conn.execute(query, (run.id,)).fetchall()]


def complete(conn: psycopg.Connection, run: Run, end: Position, totals: Counts, seconds: Mapping[str, float], alerts: list[str]) -> None:
    """End a run; the table's own constraint refuses sums that do not balance (L1), so none can be recorded as completed."""
    assignments = ", ".join(f"{name} = %({name})s" for name in COUNTS)
    conn.execute(
        f"""UPDATE ledger.run SET state = 'completed', ended_at = now(), cursor_to = %(to)s, alerts = %(alerts)s, {assignments},
               seconds = %(seconds)s,
               bytes = coalesce((SELECT sum(bytes) FROM ledger.batch WHERE run_id = %(id)s AND state <> 'discarded'), 0),
               digest = (SELECT encode(sha256(string_agg(digest, '' ORDER BY seq)::bytea), 'hex') FROM ledger.batch
                         WHERE run_id = %(id)s AND state <> 'discarded')
            WHERE id = %(id)s""",  # noqa: S608 (column names are our own constants)
        {"id": run.id, "to": Jsonb(end.to_json()), "alerts": Jsonb(alerts), "seconds": Jsonb(dict(seconds)), **totals.to_json()},
    )
    _end_attempt(conn, run, "completed", None)


def total(conn: psycopg.Connection, run_id: int) -> Counts:
    """Sum of the counts of a run's loaded batches; landed counts every batch that is not discarded."""
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in COUNTS)
    row = conn.execute(f"SELECT {sums} FROM ledger.batch WHERE run_id = %s AND state <> 'discarded'", (run_id,)).fetchone()  # noqa: S608
    return Counts(*(row or ()))


def completed_counts(conn: psycopg.Connection, run: Run) -> Counts | None:
    """The counts of a run that this attempt has completed already, else None."""
    columns = ", ".join(COUNTS)
    row = conn.execute(
        f"SELECT {columns} FROM ledger.run WHERE id = %s AND state = 'completed' AND attempts = %s",  # noqa: S608 (own constants)
        (run.id, run.attempt),
    ).fetchone()
    return Counts(*row) if row else None


def outcome(conn: psycopg.Connection, run_id: int) -> tuple[int, list[str]]:
    """Bytes landed and alerts of a run."""
    row = conn.execute("SELECT bytes, alerts FROM ledger.run WHERE id = %s", (run_id,)).fetchone()
    return (row[0], row[1]) if row else (0, [])


def move_checkpoint(conn: psycopg.Connection, pipeline: str, run_id: int, position: Position) -> None:
    """Set where the next read begins."""
    conn.execute(
        """INSERT INTO ledger.checkpoint (pipeline, position, run_id) VALUES (%s, %s, %s)
           ON CONFLICT (pipeline, partition) DO UPDATE SET position = EXCLUDED.position, run_id = EXCLUDED.run_id, updated_at = now()""",
        (pipeline, Jsonb(position.to_json()), run_id),
    )


def read_complete(conn: psycopg.Connection, run_id: int, end: Position) -> None:
    """Note that the source was read to its end; another attempt then only loads."""
    conn.execute("UPDATE ledger.run SET read_to = %s WHERE id = %s", (Jsonb(end.to_json()), run_id))


def remember_items(conn: psycopg.Connection, pipeline: str, run_id: int, items: Mapping[str, str]) -> None:
    """Note objects as loaded, so that only changed ones are read again."""
    if items:
        conn.cursor().executemany(
            """INSERT INTO ledger.item (pipeline, uri, digest, run_id) VALUES (%s, %s, %s, %s)
               ON CONFLICT (pipeline, uri) DO UPDATE SET digest = EXCLUDED.digest, run_id = EXCLUDED.run_id, loaded_at = now()""",
            [(pipeline, uri, digest, run_id) for uri, digest in items.items()],
        )


def fail(conn: psycopg.Connection, run: Run, failure: Mapping[str, Any], seconds: Mapping[str, float]) -> Counts:
    """End a run as failed; what was loaded stays loaded and accounted for. A run that a later attempt has taken over is left to it."""
    totals = total(conn, run.id)
    assignments = ", ".join(f"{name} = %({name})s" for name in COUNTS)
    conn.execute(
        f"""UPDATE ledger.run SET state = 'failed', ended_at = now(), failure = %(failure)s, seconds = %(seconds)s, {assignments}
            WHERE id = %(id)s AND attempts = %(attempt)s AND state = 'running'""",  # noqa: S608 (own constants)
        {"id": run.id, "attempt": run.attempt, "failure": Jsonb(dict(failure)), "seconds": Jsonb(dict(seconds)), **totals.to_json()},
    )
    _end_attempt(conn, run, "failed", str(failure.get("message")))
    return totals


def abandon(conn: psycopg.Connection, pipeline: str, kind: Kind, partition: str = "") -> None:
    """Give up interrupted runs of a kind that a new run supersedes; their batches are kept in the landing, marked as discarded."""
    rows = conn.execute(
        """UPDATE ledger.run SET state = 'abandoned', ended_at = now()
           WHERE pipeline = %s AND kind = %s AND partition = %s AND state IN ('failed', 'crashed') RETURNING id""",
        (pipeline, kind, partition),
    ).fetchall()
    for (run_id,) in rows:
        conn.execute("UPDATE ledger.batch SET state = 'discarded' WHERE run_id = %s AND state = 'landed'", (run_id,))


def begin_attempt(conn: psycopg.Connection, run_id: int, number: int, flow_run_id: str | None) -> None:
    """Note who tries a run now."""
    conn.execute(
        "INSERT INTO ledger.attempt (run_id, number, flow_run_id, host, pid) VALUES (%s, %s, %s, %s, %s)",
        (run_id, number, flow_run_id, socket.gethostname(), os.getpid()),
    )


def _end_attempt(conn: psycopg.Connection, run: Run, outcome: str, error: str | None) -> None:
    conn.execute(
        "UPDATE ledger.attempt SET ended_at = now(), outcome = %s, error = %s WHERE run_id = %s AND number = %s AND outcome = 'running'",
        (outcome, error, run.id, run.attempt),
    )
