"""What the ledger keeps: its own version, quarantine without copies, drift, and what a destination's row leads back to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from blocks.warehouse import Warehouse
from tasks.contract import Contract, Field
from tasks.engine.plain import run_plainly
from tasks.engine.session import Parameters
from tasks.errors import BadData, Misconfigured
from tasks.ledger.registry import compare
from tasks.ledger.schema import VERSION, ensure_ledger, version
from tasks.load.append import Append
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.memory import Rows, page, same, things


@pytest.fixture
def ledger(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse of this test's own, as the default one."""
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())
    return warehouse


def test_processes_that_start_together_make_one_ledger(warehouse: Warehouse) -> None:
    assert version(warehouse) is None
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ensure_ledger, [warehouse] * 3))
    assert version(warehouse) == VERSION


def test_ledger_of_a_newer_millrace_is_not_touched(warehouse: Warehouse) -> None:
    ensure_ledger(warehouse)
    with warehouse.connect() as conn:
        conn.execute("UPDATE ledger.migration SET version_num = '9999'")
    with pytest.raises(Misconfigured, match=f"has version 9999, this Millrace knows up to {VERSION}"):
        ensure_ledger(warehouse)


def test_record_that_is_rejected_again_is_noted_and_not_copied(ledger: Warehouse) -> None:
    spec = things(Rows([page((1, "a", -1), (2, "quoted \"'\n", -2), (2, "quoted \"'\n", -2))]))
    for _ in range(2):
        run_plainly(spec)
    with ledger.connect() as conn:
        found = conn.execute("SELECT raw ->> 'id', seen FROM ledger.quarantine ORDER BY row").fetchall()
    assert found == [("1", 2), ("2", 2), ("2", 2)]


def test_row_leads_back_to_the_file_it_came_from(ledger: Warehouse) -> None:
    class Leg(Contract):
        origin: str
        number: int = Field(ge=0)

    rows = pl.DataFrame({"origin": ["EWR"], "number": [1]})
    run_plainly(Pipeline("legs", Rows([rows]), Leg, Upsert("raw.legs", key=("origin",)), same))
    with ledger.connect() as conn:
        found = conn.execute('SELECT origin, _row, landed_file, "_origin", run_id FROM lineage.raw_legs').fetchall()
    assert found == [("EWR", 0, "legs/1/000000-1.parquet", "memory://0", 1)]


def test_changed_source_is_recorded_as_drift_and_told(ledger: Warehouse) -> None:
    run_plainly(things(Rows([page((1, "a", 1))])))
    report = run_plainly(things(Rows([page((1, "a", 1)).with_columns(extra=pl.lit("x"))])))
    assert report.alerts == ["drift: column 'extra' is new (String): in 1 rows"]


def test_frozen_pipeline_stops_at_a_changed_source(ledger: Warehouse) -> None:
    run_plainly(things(Rows([page((1, "a", 1))]), drift="freeze"))
    with pytest.raises(BadData, match="this pipeline is frozen: column 'extra' is new"):
        run_plainly(things(Rows([page((1, "a", 1)).with_columns(extra=pl.lit("x"))]), drift="freeze"))


def test_one_column_gone_and_one_come_may_be_a_renaming() -> None:
    assert [str(drift) for drift in compare({"a": "Int64"}, {"b": "Int64"}, 3)] == [
        "column 'a' may now be 'b': one column went and one came, both Int64"
    ]


def test_empty_run_says_nothing_about_the_schema(ledger: Warehouse) -> None:
    run_plainly(things(Rows([page((1, "a", 1))])))
    assert run_plainly(things(Rows([]))).alerts == []


def test_cursor_is_left_alone_by_a_sample_and_set_by_a_full_refresh(ledger: Warehouse) -> None:
    def cursor() -> list[tuple[int]]:
        with ledger.connect() as conn:
            return conn.execute("SELECT position -> 'cursor' FROM ledger.checkpoint").fetchall()

    source = Rows([page((5, "a", 1), (9, "b", 2))])
    run_plainly(things(source), Parameters(limit=1))
    assert cursor() == []
    run_plainly(things(source), Parameters(full_refresh=True))
    assert cursor() == [(9,)]


def test_append_from_a_source_that_reads_back_is_refused(ledger: Warehouse) -> None:
    from tasks.extract.rest import Rest
    from tasks.extract.since import Since

    source = Rest(api="nowhere", path="/x", since=Since("id"))
    with pytest.raises(Misconfigured, match="Append would keep those rows twice"):
        run_plainly(things(source, Append("raw.things")))  # type: ignore[arg-type] (any source does)
