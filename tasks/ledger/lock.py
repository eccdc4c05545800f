"""One writer per pipeline and partition: advisory locks of the ledger's database, tied to the session that holds them.

A run takes its partition for itself and the table together with the pipeline's other partitions; a run that swaps the
table takes the table for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import LiteralString

import psycopg

from blocks.warehouse import Warehouse
from tasks.errors import Transient


class Held(Transient):
    """Another run holds the lock; it was waited for as long as the setting says, so it is not tried again by itself."""


class Lock:
    """Held while a run writes; a dead process loses it with its connection.

    Parameters
    ----------
    warehouse: whose ledger.
    pipeline, partition: what is locked; different ones never wait for each other. A backfill window is a partition.
    whole_table: no other partition of the pipeline may be written meanwhile.
    """

    def __init__(self, warehouse: Warehouse, pipeline: str, partition: str = "", *, whole_table: bool = False) -> None:
        self._warehouse, self._pipeline, self._whole_table = warehouse, pipeline, whole_table
        self._table, self._partition = f"millrace:{pipeline}", f"millrace:{pipeline}:{partition}"
        self._conn: psycopg.Connection | None = None

    def acquire(self, wait: float, say: Callable[[str], None]) -> None:
        """Take the lock, waiting up to `wait` seconds for the run that holds it.

        Raises Held naming that run when the time is over.
        """
        conn = self._warehouse.connect(autocommit=True, application_name=f"millrace lock {self._pipeline}"[:63])
        try:
            self._wait(conn, time.monotonic() + wait, say)
        except BaseException:
            conn.close()
            raise
        self._conn = conn

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _wait(self, conn: psycopg.Connection, deadline: float, say: Callable[[str], None]) -> None:
        told = False
        while not self._try(conn):
            if time.monotonic() >= deadline:
                raise Held(
                    f"Another run of this pipeline is writing: {self._holder(conn)}",
                    do="Let it end, or cancel it; then run again. Nothing was read or written",
                    pipeline=self._pipeline,
                )
            if not told:
                say(f"waiting for another run of {self._pipeline}: {self._holder(conn)}")
                told = True
            time.sleep(0.5)

    def _holder(self, conn: psycopg.Connection) -> str:
        row = conn.execute(
            """SELECT a.run_id, a.flow_run_id, a.host, a.pid, a.started_at FROM ledger.attempt a JOIN ledger.run r ON r.id = a.run_id
               WHERE r.pipeline = %s AND a.outcome = 'running' ORDER BY a.started_at DESC LIMIT 1""",
            (self._pipeline,),
        ).fetchone()
        if row is None:
            return "a run that has just started"
        flow = f", flow run {row[1]}" if row[1] else ""
        return f"run {row[0]}{flow}, on {row[2]} process {row[3]}, since {row[4]:%Y-%m-%d %H:%M:%S} UTC"

    def _try(self, conn: psycopg.Connection) -> bool:
        table = "pg_try_advisory_lock" if self._whole_table else "pg_try_advisory_lock_shared"
        if not _answer(conn, f"SELECT {table}(hashtextextended(%s, 0))", self._table):
            return False
        if _answer(conn, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", self._partition):
            return True
        unlock = "pg_advisory_unlock" if self._whole_table else "pg_advisory_unlock_shared"
        _answer(conn, f"SELECT {unlock}(hashtextextended(%s, 0))", self._table)
        return False


def _answer(conn: psycopg.Connection, query: LiteralString, name: str) -> bool:
    row = conn.execute(query, (name,)).fetchone()
    return bool(row and row[0])
