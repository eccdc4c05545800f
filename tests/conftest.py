"""Fixtures for every test: an own PostgreSQL per worker process, an own database per test, a clean environment."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.embedded import Server, create_database, drop_database, ensure, stop
from blocks.warehouse import Warehouse

IDLE = 10.0
"""Seconds after which the test server ends by itself when pytest was killed."""


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


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's shell or Prefect profile is seen, and state goes to the test's own folder."""
    for name in list(os.environ):
        if name.startswith(("MILLRACE_", "PREFECT_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
