"""One database for many tests of the engine: a pipeline's name and table keep them apart, and making a database takes a second."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from blocks.embedded import Server, create_database, drop_database
from blocks.warehouse import Warehouse
from tasks.engine import retrying
from tasks.ledger.schema import ensure_ledger
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.conftest import as_warehouse
from tests.engine.memory import Rows, things

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


@pytest.fixture
def made(name: str, shared: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pipeline]:
    """A pipeline over these pages; retries do not wait."""
    monkeypatch.setattr(retrying, "FIRST_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(retrying, "JITTER", 0.0)

    def make(*pages: pl.DataFrame, **options: Any) -> Pipeline:
        source = options.pop("source", None) or Rows(pages)
        return things(source, options.pop("load", None) or Upsert(f"raw.{name}", key=("id",)), name, **options)

    return make
