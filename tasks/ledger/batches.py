"""Batches in the ledger: registered when landed, marked loaded in the transaction that loads them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from tasks.batch import Batch, Counts, Position
from tasks.errors import MillraceError
from tasks.landing import LandedFile
from tasks.ledger.runs import COUNTS, Run


def register(
    conn: psycopg.Connection, run: Run, pipeline: str, seq: int, file: LandedFile, rows: int, position: Position, origin: str, calls: int
) -> Batch:
    """Note a landed file as the run's next batch; from here on the rows cannot be lost. Twice is once: the answer may have been lost."""
    fence(conn, run, pipeline)
    known = conn.execute("SELECT id FROM ledger.batch WHERE run_id = %s AND seq = %s AND uri = %s", (run.id, seq, file.uri)).fetchone()
    if known:
        return Batch(known[0], run.id, pipeline, seq, file.uri, rows, file.bytes, file.digest, position)
    row = conn.execute(
        """INSERT INTO ledger.batch (run_id, pipeline, seq, uri, origin, bytes, digest, position, landed, attempt)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (run.id, pipeline, seq, file.uri, origin, file.bytes, file.digest, Jsonb(position.to_json()), rows, run.attempt),
    ).fetchone()
    assert row is not None  # noqa: S101 (INSERT … RETURNING always answers)
    conn.execute("UPDATE ledger.attempt SET batches_landed = batches_landed + 1 WHERE run_id = %s AND number = %s", (run.id, run.attempt))
    conn.execute(
        "UPDATE ledger.run SET landed = landed + %s, bytes = bytes + %s, calls = calls + %s WHERE id = %s",
        (rows, file.bytes, calls, run.id),
    )
    return Batch(row[0], run.id, pipeline, seq, file.uri, rows, file.bytes, file.digest, position)


def loaded_counts(conn: psycopg.Connection, batch: Batch) -> Counts | None:
    """The counts of a batch that is loaded already (its commit succeeded and the answer was lost), else None."""
    row = conn.execute(f"SELECT state, {', '.join(COUNTS)} FROM ledger.batch WHERE id = %s", (batch.id,)).fetchone()  # noqa: S608 (own constants)
    return Counts(*row[1:]) if row and row[0] == "loaded" else None


def fence(conn: psycopg.Connection, run: Run, pipeline: str) -> None:
    """Hold the run's row, and refuse to write when a later attempt has taken the run over.

    Batches of one run that load side by side meet here, at the end of their transactions, so the checkpoint moves in order.

    Raises
    ------
    MillraceError: this attempt lost its lock (no retry gets it back); nothing of the open transaction may be committed.
    """
    row = conn.execute("SELECT attempts, state FROM ledger.run WHERE id = %s FOR UPDATE", (run.id,)).fetchone()
    if row != (run.attempt, "running"):
        now = f"attempt {row[0]}, {row[1]}" if row else "gone"
        raise MillraceError(
            f"Attempt {run.attempt} of run {run.id} lost its lock and another took over: the run is now {now}",
            do="Nothing: whoever holds the lock loads what is left; this attempt stops without writing",
            pipeline=pipeline,
        )


def mark_loaded(
    conn: psycopg.Connection, batch: Batch, counts: Counts, seconds: Mapping[str, float], contract_version: int, pipeline_version: str
) -> Position:
    """Mark a batch loaded with its counts; the table's constraint refuses counts that do not balance (L1).

    Returns where the run stands: the position of the last batch before the first that is not loaded.
    """
    assignments = ", ".join(f"{name} = %({name})s" for name in COUNTS)
    conn.execute(
        f"""UPDATE ledger.batch SET state = 'loaded', loaded_at = now(), seconds = %(seconds)s, contract_version = %(contract)s,
               pipeline_version = %(pipeline)s, {assignments} WHERE id = %(id)s""",  # noqa: S608 (own constants)
        {"id": batch.id, "seconds": Jsonb(dict(seconds)), "contract": contract_version, "pipeline": pipeline_version, **counts.to_json()},
    )
    row = conn.execute(
        """SELECT position FROM ledger.batch WHERE run_id = %(run)s AND state = 'loaded'
           AND seq < coalesce((SELECT min(seq) FROM ledger.batch WHERE run_id = %(run)s AND state = 'landed'), 2147483647)
           ORDER BY seq DESC LIMIT 1""",
        {"run": batch.run},
    ).fetchone()
    return Position.from_json(row[0]) if row else Position()


def write_violations(conn: psycopg.Connection, batch: Batch, violations: pl.DataFrame) -> None:
    """Keep how many rows broke which rule."""
    if not violations.is_empty():
        conn.cursor().executemany(
            "INSERT INTO ledger.violation (batch_id, column_name, rule, severity, rows, sample) VALUES (%s, %s, %s, %s, %s, %s)",
            [(batch.id, *row) for row in violations.select("column", "rule", "severity", "rows", "sample").iter_rows()],
        )


def write_quarantine(conn: psycopg.Connection, batch: Batch, rejects: pl.DataFrame, contract_version: int) -> None:
    """Keep rejected rows with raw input and reasons, by COPY.

    A record that is in quarantine already, letter by letter, is not written twice: it is noted as seen again, with its latest reasons.
    """
    if rejects.is_empty():
        return
    copies = pl.int_range(pl.len()).over("raw")
    text = rejects.select("row", "raw", "errors", copies.alias("copy")).write_csv(include_header=False)
    with conn.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE rejected (row integer, raw text, errors jsonb, copy integer) ON COMMIT DROP")
        with cursor.copy("COPY rejected FROM STDIN (FORMAT csv)") as copy:
            copy.write(text.encode())
        cursor.execute(
            """INSERT INTO ledger.quarantine (pipeline, run_id, batch_id, row, raw, errors, contract_version, digest)
               SELECT %s, %s, %s, row, raw::json, errors, %s, sha256(convert_to(raw || '#' || copy, 'UTF8')) FROM rejected ORDER BY row
               ON CONFLICT (pipeline, digest) WHERE status = 'open'
               DO UPDATE SET seen = quarantine.seen + 1, last_batch_id = EXCLUDED.batch_id, last_row = EXCLUDED.row, last_seen_at = now(),
                   errors = EXCLUDED.errors, contract_version = EXCLUDED.contract_version""",
            (batch.pipeline, batch.run, batch.id, contract_version),
        )
        cursor.execute("DROP TABLE rejected")
