"""The small process beside an embedded PostgreSQL that stops it when nobody has used it for a while."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import psycopg

from blocks.embedded import cluster
from blocks.embedded.files import Files
from blocks.embedded.server import Server, running

CLIENTS = """
select count(*) from pg_stat_activity
where backend_type in ('client backend', 'walsender') and pid <> pg_backend_pid() and application_name <> 'millrace looking'
"""


def supervise(state: Path, idle: float, lock: int) -> None:
    """Watch until the server is gone, or has been idle for `idle` seconds and is stopped by us.

    Parameters
    ----------
    lock: descriptor of the `supervisor` lock, which we hold from the start.
    """
    files = Files(state)
    while True:
        with files.locked("start"):  # so that nobody starts a server while we decide to end
            server = running(state)
            if server is None:
                os.close(lock)
                return
        try:
            _watch(server, files, idle)
        except psycopg.OperationalError:
            continue  # the server went, or only our connection did: look again


def _watch(server: Server, files: Files, idle: float) -> None:
    """Look until the server goes, by itself or stopped by us; either way ends in psycopg.OperationalError."""
    last_used = time.time()
    with server.connect("postgres", application_name="millrace supervisor") as connection:
        while True:
            if _clients(connection):
                last_used = time.time()
            elif time.time() - max(last_used, files.asked.stat().st_mtime) > idle:
                with files.locked("start"):
                    if time.time() - files.asked.stat().st_mtime > idle and not _clients(connection):
                        cluster.stop(files)
            select.select([connection], [], [], min(idle / 4, 5))  # ends early when the server closes the connection


def _clients(connection: psycopg.Connection) -> int:
    """Clients of the server other than ourselves."""
    row = connection.execute(CLIENTS).fetchone()
    return int(row[0]) if row else 0
