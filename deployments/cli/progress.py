"""How far a run is, read from the ledger while it goes: the same for a plain run and one inside Prefect."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from blocks.errors import Transient

if TYPE_CHECKING:
    from blocks.warehouse import Warehouse

EVERY_SECONDS = 0.4

NOW = """
SELECT r.kind, coalesce(sum(b.landed), 0)::bigint, coalesce(sum(b.landed) FILTER (WHERE b.state = 'loaded'), 0)::bigint,
       (SELECT p.landed FROM ledger.run p WHERE p.pipeline = r.pipeline AND p.kind = r.kind AND p.state = 'completed' ORDER BY p.id DESC LIMIT 1)
FROM ledger.run r
JOIN ledger.attempt a ON a.run_id = r.id AND a.number = r.attempts AND a.outcome = 'running' AND a.host = %s AND a.pid = %s
LEFT JOIN ledger.batch b ON b.run_id = r.id AND b.state <> 'discarded'
WHERE r.pipeline = %s GROUP BY r.id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is.

    Parameters
    ----------
    landed, loaded: rows read, and of these the ones whose fate is known. expected: rows of the last run of this kind.
    """

    kind: str
    landed: int
    loaded: int
    expected: int | None


@contextmanager
def progress_bar(warehouse: Warehouse, pipeline: str) -> Iterator[None]:
    """Show a bar on standard error while this process runs a pipeline: rows landed and loaded, rows per second, time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from deployments.cli.printing import stderr

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task(pipeline, total=None, rows="opening")

        def show(now: Standing) -> None:
            speed = bar.tasks[0].speed or 0.0
            rows = f"{now.landed:,} landed, {now.loaded:,} loaded, {speed:,.0f} rows/s"
            total = max(now.expected, now.landed) if now.expected else None
            bar.update(task, total=total, completed=now.loaded, rows=rows)

        with watching(warehouse, pipeline, show):
            yield


@contextmanager
def watching(warehouse: Warehouse, pipeline: str, show: Callable[[Standing], None]) -> Iterator[None]:
    """Call `show` now and then, from a thread, with how far this process's run of a pipeline is."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(warehouse, pipeline, show, done), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(warehouse: Warehouse, pipeline: str, show: Callable[[Standing], None], done: threading.Event) -> None:
    """Look until told to stop. A lost connection ends the watching and not the run, which meets and tells the same trouble itself."""
    try:
        with warehouse.connect(autocommit=True, application_name="millrace progress") as conn:
            while not done.wait(EVERY_SECONDS):
                if (now := _standing(conn, pipeline)) is not None:
                    show(now)
    except (psycopg.OperationalError, Transient):
        return


def _standing(conn: psycopg.Connection, pipeline: str) -> Standing | None:
    try:
        row = conn.execute(NOW, (socket.gethostname(), os.getpid(), pipeline)).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None  # the very first run is still making the ledger
    return Standing(*row) if row else None
