"""One database for many tests of the engine: a pipeline's name and table keep them apart, and making a database takes a second."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blocks.embedded import Server, create_database, drop_database
from blocks.warehouse import Warehouse
from tasks.ledger.schema import ensure_ledger
from tests.conftest import as_warehouse

Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def engine_database(postgres: Server) -> Iterator[Warehouse]:
    server = create_database(postgres, f"engine_{uuid.uuid4().hex}")
    warehouse = as_warehouse(server)
    ensure_ledger(warehouse)
    yield warehouse
    drop_database(server)


@pytest.fixture
def shared(engine_database: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The default warehouse of this test; others use it too."""
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", engine_database.dsn.get_secret_value())
    monkeypatch.setenv("MILLRACE_LOCK_WAIT", "30")  # a server takes a moment to notice that a process was killed
    return engine_database


@pytest.fixture
def name() -> str:
    """A pipeline name and table name of this test's own."""
    return f"things_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def ask(shared: Warehouse) -> Ask:
    """Rows of a query, on a connection of its own."""

    def rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
        with shared.connect(autocommit=True) as conn:
            return conn.execute(query.encode(), values).fetchall()

    return rows
