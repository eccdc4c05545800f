"""One writer per pipeline and partition: an advisory lock of the ledger's database, tied to the session that holds it."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from blocks.warehouse import Warehouse
from tasks.errors import Transient


class Lock:
    """Held while a run writes; a dead process loses it with its connection.

    Parameters
    ----------
    warehouse: whose ledger.
    pipeline, partition: what is locked; different ones never wait for each other.
    """

    def __init__(self, warehouse: Warehouse, pipeline: str, partition: str = "") -> None:
        self._warehouse, self._pipeline = warehouse, pipeline
        self._name = f"millrace:{pipeline}:{partition}"
        self._conn: psycopg.Connection | None = None

    def acquire(self, wait: float, say: Callable[[str], None]) -> None:
        """Take the lock, waiting up to `wait` seconds for the run that holds it.

        Raises Transient naming that run when the time is over.
        """
        conn = self._warehouse.connect(autocommit=True, application_name=f"millrace lock {self._pipeline}"[:63])
        deadline = time.monotonic() + wait
        told = False
        while not _try(conn, self._name):
            if time.monotonic() >= deadline:
                holder = self._holder(conn)
                conn.close()
                raise Transient(
                    f"Another run of this pipeline is writing: {holder}",
                    do="Let it end, or cancel it; then run again. Nothing was read or written",
                    pipeline=self._pipeline,
                )
            if not told:
                say(f"waiting for another run of {self._pipeline}: {self._holder(conn)}")
                told = True
            time.sleep(0.5)
        self._conn = conn

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

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


def _try(conn: psycopg.Connection, name: str) -> bool:
    row = conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)).fetchone()
    return bool(row and row[0])
