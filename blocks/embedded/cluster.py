"""The PostgreSQL cluster of one folder: made once, started, stopped. Callers hold the `start` lock."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from blocks.embedded.binaries import account, as_account, program
from blocks.embedded.files import Files
from blocks.embedded.processes import end, launch, listening_port, orphans, postmaster
from blocks.errors import Misconfigured, Transient

USER = "millrace"
DATABASE = "warehouse"
LOG_BYTES = 20_000_000
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}


def create(files: Files, *, durable: bool) -> None:
    """Make the cluster with its superuser and database; it appears in place only when it is whole.

    Raises
    ------
    Misconfigured: initdb or the first start failed; its output is in the message.
    """
    files.secret()
    fresh = files.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    uid = account(fresh)
    if uid is not None:
        os.chown(fresh, uid, uid)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--username", USER, "--pwfile", str(files.password), "--auth=scram-sha-256"]
    sync = [] if durable else ["--no-sync"]
    initdb = [program("initdb"), "--pgdata", str(fresh), *access, *locale, *sync]
    _run(as_account(uid, initdb), "")
    _run(as_account(uid, [program("postgres"), "--single", "-D", str(fresh), "postgres"]), f"CREATE DATABASE {DATABASE};\n")
    fresh.replace(files.data)


def start(files: Files, *, durable: bool, answers: Callable[[int], bool], patience: float = 60) -> int:
    """Start the postmaster, or find the one that is still starting or recovering, and wait until it answers: the port.

    Parameters
    ----------
    answers: whether our server answers at that port. patience: seconds to wait; recovery after a crash takes its time.

    Raises
    ------
    Misconfigured: it ended instead of answering. Transient: it neither answers nor ends.
    """
    deadline = time.monotonic() + patience
    port = listening_port(files)
    while port and not files.is_free("alive") and time.monotonic() < deadline:
        if answers(port):
            return _noted(files, port)
        time.sleep(0.03)
    if port and postmaster(files) and not files.is_free("alive"):
        raise Transient(
            f"The embedded PostgreSQL does not answer within {patience:.0f} s; it may be recovering",
            do=f"Read {files.log}, then run again.",
        )
    alive = _take_alive(files)
    (files.data / "postmaster.pid").unlink(missing_ok=True)
    if files.log.exists() and files.log.stat().st_size > LOG_BYTES:
        files.log.replace(files.log.with_suffix(".log.1"))
    port = _free_port(files)
    options = _options(files, port) | ({} if durable else FORGETFUL)
    flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    command = as_account(account(files.data), [program("postgres"), "-D", str(files.data), *flags])
    launch(command, log=files.log, holding=alive)
    while time.monotonic() < deadline:
        if answers(port):
            return _noted(files, port)
        if files.is_free("alive"):
            raise Misconfigured("The embedded PostgreSQL did not start", do=f"Read {files.log}.", value=_tail(files.log))
        time.sleep(0.03)
    raise Transient(f"The embedded PostgreSQL did not answer within {patience:.0f} s", do=f"Read {files.log}, then run again.")


def stop(files: Files, *, patience: float = 30) -> None:
    """Stop the server: fast shutdown, then harder; returns when none of its processes is left."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if files.is_free("alive"):
            return
        pid = postmaster(files)
        for target in [pid] if pid else orphans(files):
            end(target, how)
        if _freed(files, patience if pid else 2):
            return
    raise Transient(
        "The embedded PostgreSQL does not stop", do=f"Read {files.log}, and end its processes by hand.", value=postmaster(files)
    )


def _noted(files: Files, port: int) -> int:
    """The port, written down for who looks for the server."""
    fresh = files.port.with_suffix(".new")
    fresh.write_text(str(port))
    fresh.replace(files.port)
    return port


def _take_alive(files: Files) -> int:
    """The `alive` lock, after ending what is left of a server that does not answer."""
    stop(files)
    lock = files.try_lock("alive")
    if lock is None:
        raise Transient("Something else holds the embedded PostgreSQL's lock", do="Run again.", value=str(files.folder / "alive.lock"))
    return lock


def _freed(files: Files, patience: float) -> bool:
    """Whether the server's last process ends within so many seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if files.is_free("alive"):
            return True
        time.sleep(0.02)
    return False


def _options(files: Files, port: int) -> dict[str, str]:
    """Settings of the server, given at start so that they hold for clusters made by an older version too."""
    return {
        "cluster_name": files.cluster,
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "60",
        "shared_buffers": "128MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "dynamic_shared_memory_type": "posix" if _roomy(Path("/dev/shm")) else "mmap",  # noqa: S108
        "client_connection_check_interval": "5s",  # a killed client's query ends, and its locks with it
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "log_min_messages": "warning",
    }


def _roomy(shared: Path, needed: int = 256 << 20) -> bool:
    """Whether parallel queries can have their shared memory there; containers often give 64 MB."""
    with suppress(OSError):
        room = os.statvfs(shared)
        return room.f_bavail * room.f_frsize >= needed
    return False


def _free_port(files: Files) -> int:
    """The port of last time when it is still free, so that saved connections keep working, else one from the kernel."""
    with suppress(OSError, ValueError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(files.port.read_text())))
        return int(probe.getsockname()[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str], given: str) -> None:
    """Run one of PostgreSQL's programs to its end."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise Misconfigured(
            f"The embedded PostgreSQL could not be made (exit code {done.returncode})",
            do="Mend what its output says, or set MILLRACE_WAREHOUSE_URL to a server of your own.",
            value=(done.stderr + done.stdout)[-180:],
        )


def _tail(log: Path) -> str:
    """The last words of a log."""
    return log.read_text(errors="replace")[-180:] if log.exists() else ""
