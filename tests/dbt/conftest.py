"""A warehouse that holds the hand-made rows."""

import uuid

import pytest

from blocks.embedded import create_database, drop_database
from blocks.warehouse import Warehouse
from tasks.ledger.schema import ensure_ledger
from tests.dbt.hand_made import ROWS, load


@pytest.fixture(scope="module")
def loaded(postgres):
    """A warehouse of a test file's own that holds ROWS."""
    server = create_database(postgres, f"dbt_{uuid.uuid4().hex}")
    parts = {"host": server.host, "port": server.port, "dbname": server.database, "user": server.user, "sslmode": "disable"}
    warehouse = Warehouse.of("warehouse", **parts, password=server.password.get_secret_value())
    ensure_ledger(warehouse)
    for pipeline, rows in ROWS.items():
        load(warehouse, pipeline, rows)
    yield warehouse
    drop_database(server)
