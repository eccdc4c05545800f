"""What the rest of Millrace asks of the embedded PostgreSQL: be there, be found, stop."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from blocks.embedded import cluster
from blocks.embedded.files import Files
from blocks.embedded.processes import launch


@dataclass(frozen=True, slots=True)
class Server:
    """Where a running embedded PostgreSQL is, and how to enter; the user owns it all."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str

    def connect(self, database: str | None = None, **options: object) -> psycopg.Connection:
        """A connection to one of its databases in autocommit mode; psycopg's errors pass through."""
        given = {"host": self.host, "port": self.port, "user": self.user, "dbname": database or self.database, "connect_timeout": 10}
        secret = self.password.get_secret_value()
        # The server must prove that it knows the password too, so another one on a reused port is never taken for ours.
        return psycopg.connect(autocommit=True, password=secret, require_auth="scram-sha-256", **given | options)  # type: ignore[arg-type]  # libpq takes any


def ensure(state: Path, *, idle: float | None = None, durable: bool | None = None) -> Server:
    """The embedded PostgreSQL of a state folder, made and started when it is not running, by one process at a time.

    Parameters
    ----------
    state: the state folder; everything is kept in `postgres` below it.
    idle: seconds without a client and without a call of this function after which it stops; 0 is never. Default: settings.
    durable: False to trade safety in a power cut for speed. Default: settings.

    Raises
    ------
    Misconfigured: it cannot be made or started here. Transient: it does not answer in time.
    """
    if idle is None or durable is None:
        from blocks.settings import settings

        now = settings()
        idle = now.embedded_idle if idle is None else idle
        durable = now.embedded_durable if durable is None else durable
    files = Files(state)
    files.create()
    with files.locked("start"):
        os.utime(files.asked)
        server = _find(files)
        if server is None:
            if not files.data.exists():
                cluster.create(files, durable=durable)
            port = cluster.start(files, durable=durable, answers=lambda port: _answers(_server(files, port)))
            server = _server(files, port)
        if idle:
            _supervise(state, files, idle)
    return server


def running(state: Path) -> Server | None:
    """The embedded PostgreSQL of a state folder when it answers, else None; starts nothing."""
    files = Files(state)
    return _find(files) if files.port.exists() else None


def stop(state: Path) -> None:
    """Stop the embedded PostgreSQL and its supervisor; connected clients are cut off, committed rows stay. Not running is fine.

    Raises
    ------
    Transient: it does not stop.
    """
    files = Files(state)
    if not files.folder.exists():
        return
    with files.locked("start"):
        cluster.stop(files)
    deadline = time.monotonic() + 5  # the supervisor sees it at once, unless someone starts a server again meanwhile
    while not files.is_free("supervisor") and time.monotonic() < deadline:
        time.sleep(0.02)


def create_database(server: Server, name: str) -> Server:
    """Make an empty database on the server: the server as seen from there."""
    with server.connect("postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return replace(server, database=name)


def drop_database(server: Server) -> None:
    """Remove the server's database with everything in it, cutting off who is connected; gone already is fine."""
    with server.connect("postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(server.database)))


def _server(files: Files, port: int) -> Server:
    return Server("127.0.0.1", port, cluster.USER, SecretStr(files.secret()), cluster.DATABASE)


def _find(files: Files) -> Server | None:
    """The server at the port of the last start, when it answers."""
    try:
        server = _server(files, int(files.port.read_text()))
    except (FileNotFoundError, ValueError):
        return None
    return server if _answers(server) else None


def _answers(server: Server) -> bool:
    """Whether our server answers there; a server that is full is there all the same."""
    try:
        server.connect("postgres", application_name="millrace looking").close()
    except psycopg.OperationalError as error:
        return "too many clients" in str(error) or "remaining connection slots" in str(error)
    return True


def _supervise(state: Path, files: Files, idle: float) -> None:
    """Start the process that stops the server when it is idle, unless there is one."""
    lock = files.try_lock("supervisor")
    if lock is not None:
        command = [sys.executable, "-P", "-m", "blocks.embedded", str(state.absolute()), str(idle), str(lock)]
        launch(command, log=files.folder / "supervisor.log", holding=lock)
