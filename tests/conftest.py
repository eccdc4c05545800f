"""Fixtures for every test: an own PostgreSQL and Prefect API per worker process, an own database per test, a clean environment."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from blocks.embedded import Server, create_database, drop_database, ensure, stop
from blocks.warehouse import Warehouse

IDLE = 10.0
"""Seconds after which the test server ends by itself when pytest was killed."""


def pytest_configure() -> None:
    """Forget the developer's settings before anything can read them, and Prefect's profile with them."""
    for name in list(os.environ):
        if name.startswith(("MILLRACE_", "PREFECT_", "PG")):
            del os.environ[name]
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
    os.environ["DO_NOT_TRACK"] = "1"


def pytest_unconfigure() -> None:
    """Leave no Prefect folder behind."""
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test keeps goes to its own folder."""
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MILLRACE_EMBEDDED_DURABLE", "false")
    monkeypatch.setenv("MILLRACE_EMBEDDED_IDLE", str(IDLE))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server of this worker's own; the connection held open tells it that we live."""
    state = tmp_path_factory.mktemp("postgres")
    server = ensure(state, idle=IDLE, durable=False)
    with server.connect("postgres", application_name="pytest"):
        yield server
    stop(state)
    shutil.rmtree(state)


@pytest.fixture
def warehouse(postgres: Server) -> Iterator[Warehouse]:
    """An empty warehouse, dropped after the test."""
    server = create_database(postgres, f"test_{uuid.uuid4().hex}")
    yield as_warehouse(server)
    drop_database(server)


def as_warehouse(server: Server, name: str = "warehouse") -> Warehouse:
    """The warehouse in a server's database."""
    parts = {"host": server.host, "port": server.port, "dbname": server.database, "user": server.user, "sslmode": "disable"}
    return Warehouse.of(name, **parts, password=server.password.get_secret_value())


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prefect API of this worker's own, which no test sees that does not ask for it; it ends with us, however we end."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    flags = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    database = {"PREFECT_HOME": str(home), "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db"}
    app = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", port, "--log-level", "error"]
    log = (home / "server.log").open("wb")
    environment = os.environ | flags | database
    server = subprocess.Popen([sys.executable, "-m", *app], env=environment, stdout=log, stderr=log, preexec_fn=end_with_parent)  # noqa: PLW1509
    wait_for(f"http://127.0.0.1:{port}/api/health", server, home / "server.log")
    yield f"http://127.0.0.1:{port}/api"
    server.kill()
    server.wait()
    log.close()


def end_with_parent() -> None:
    """Have Linux kill this child when the process that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Wait until a server answers at a URL."""
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)


@pytest.fixture
def prefect_api(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This test's flows, blocks and child processes use the worker's Prefect API."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield prefect_server
