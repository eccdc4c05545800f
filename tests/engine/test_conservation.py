"""Every row is accounted for (L1), and nothing ends well that lost one (L4)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from blocks.warehouse import Warehouse
from tasks.batch import Counts
from tasks.engine.plain import run_plainly
from tasks.errors import BadData
from tasks.load.upsert import Upsert
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page, things


class Forgetful(Upsert):
    """Says one row less than it loaded."""

    def load(self, *loading: Any) -> Counts:
        counts = super().load(*loading)
        counts.inserted -= 1
        return counts


def test_loader_that_loses_a_row_fails_the_run_and_keeps_the_cursor(name: str, ask: Ask) -> None:
    spec = things(Rows([page((1, "a", 1), (2, "b", 2))]), Forgetful(f"raw.{name}", key=("id",)), name)
    with pytest.raises(BadData, match=r"do not add up: landed 2 \+ derived 0, accounted for 1"):
        run_plainly(spec)
    assert ask(f"SELECT count(*) FROM raw.{name}") == [(0,)]
    assert ask("SELECT state FROM ledger.run WHERE pipeline = %s", name) == [("failed",)]
    assert not ask("SELECT 1 FROM ledger.checkpoint WHERE pipeline = %s", name)


@pytest.mark.parametrize(("table", "state"), [("run", "completed"), ("batch", "loaded")])
def test_ledger_refuses_counts_that_do_not_balance(table: str, state: str, name: str, shared: Warehouse) -> None:
    run_plainly(things(Rows([page((1, "a", 1))]), Upsert(f"raw.{name}", key=("id",)), name))
    with shared.connect() as conn, pytest.raises(psycopg.errors.CheckViolation, match="conservation"):
        conn.execute(f"UPDATE ledger.{table} SET state = %s, inserted = inserted + 1 WHERE pipeline = %s".encode(), (state, name))


def test_source_that_always_had_rows_and_has_none_is_an_alert(name: str, ask: Ask) -> None:
    table = Upsert(f"raw.{name}", key=("id",))
    run_plainly(things(Rows([page((7, "a", 1))], incremental=False), table, name))
    report = run_plainly(things(Rows([page()], incremental=False), table, name))
    assert report.alerts == ["zero rows where rows were expected; the cursor stays"]
    assert ask("SELECT position -> 'cursor' FROM ledger.checkpoint WHERE pipeline = %s", name) == [(7,)]


def test_empty_incremental_read_is_no_alert_and_keeps_the_cursor(name: str, ask: Ask) -> None:
    table = Upsert(f"raw.{name}", key=("id",))
    run_plainly(things(Rows([page((7, "a", 1))]), table, name))
    assert run_plainly(things(Rows([]), table, name)).alerts == []
    assert ask("SELECT position -> 'cursor' FROM ledger.checkpoint WHERE pipeline = %s", name) == [(7,)]


def test_failed_load_never_ends_as_completed(name: str, ask: Ask) -> None:
    spec = things(Rows([page((1, "a", 1)), page((2, "b", 2))]), Upsert(f"raw.{name}", key=("id",)), name, transform=lambda frame: 1 / 0)
    with pytest.raises(BadData, match="The transform failed: ZeroDivisionError"):
        run_plainly(spec)
    assert ask("SELECT state, failure ->> 'command' FROM ledger.run WHERE pipeline = %s", name) == [("failed", f"millrace run {name}")]
