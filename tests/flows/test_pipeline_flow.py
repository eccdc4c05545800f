"""`@pipeline` under a real Prefect API: run form, states, retries, artifacts, events, rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from prefect import Flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.utilities.callables import parameter_schema

from blocks.warehouse import Warehouse
from flows import pipeline, spec_of
from tasks.engine.closing import Report
from tasks.errors import BadData, Transient
from tasks.load.upsert import Upsert
from tests.engine.memory import Rows, Thing, page

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture(autouse=True)
def loaded_into(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())


def made(source: Rows, transform: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda frame: frame, **options: Any) -> Flow[..., Any]:
    """A tiny pipeline."""

    @pipeline(extract=source, contract=Thing, load=Upsert("raw.tiny_things", key=("id",)), batch_rows=2, **options)
    def tiny_things(frame: pl.LazyFrame) -> pl.LazyFrame:
        """Things, one row each."""
        return transform(frame)

    return tiny_things


def artifact(key: str) -> Any:
    found = Artifact.get(key)
    assert found is not None
    return found


def table(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect(autocommit=True) as conn:
        return conn.execute("SELECT id, name, v FROM raw.tiny_things ORDER BY 1").fetchall()


def test_run_form_explains_its_five_parameters() -> None:
    properties = parameter_schema(made(Rows([])).fn).properties
    assert list(properties) == ["start_date", "end_date", "full_refresh", "limit", "dry_run"]
    assert all(len(said["description"]) > 30 for said in properties.values())


def test_flow_is_named_and_described_as_its_function() -> None:
    flow = made(Rows([]), retries=2, timeout_seconds=60)
    assert (flow.name, flow.description, flow.retries, flow.timeout_seconds) == ("tiny_things", "Things, one row each.", 2, 60)
    assert flow.version == spec_of(flow).version


def test_run_loads_rows_and_leaves_a_table_and_progress(warehouse: Warehouse) -> None:
    state = made(Rows([page((1, "a", 1), (2, "b", -1)), page((3, "c", 3))]))(return_state=True)
    assert state.is_completed()
    assert state.message == "3 landed: 2 inserted, 0 updated, 0 unchanged, 0 duplicate, 0 filtered, 1 quarantined"
    assert table(warehouse) == [(1, "a", 1), (3, "c", 3)]
    shown = artifact("run-tiny-things").data
    assert '"what": "balance", "rows": 0' in shown
    assert float(artifact("progress-tiny-things").data) == 100.0


def test_call_gives_the_report() -> None:
    report = made(Rows([page((1, "a", 1))]))()
    assert isinstance(report, Report)
    assert report.counts.inserted == 1


def test_dry_run_writes_nothing(warehouse: Warehouse) -> None:
    state = made(Rows([page((1, "a", 1))]))(dry_run=True, return_state=True)
    assert state.message.startswith("Dry run, nothing written. 1 landed: 1 inserted")
    with warehouse.connect(autocommit=True) as conn:
        assert conn.execute("SELECT to_regclass('raw.tiny_things'), count(*) FROM ledger.run").fetchone() == (None, 0)


def test_failing_run_is_failed_and_its_page_names_the_command() -> None:
    state = made(Rows([page((1, "a", 1)).drop("v")]))(return_state=True)
    assert state.is_failed()
    with pytest.raises(BadData, match="has no column 'v'"):
        state.result()
    shown = artifact("failure-tiny-things").data
    assert "millrace run tiny_things" in shown
    assert "**What to do.** See whether the source renamed it" in shown


@pytest.mark.parametrize(("error", "tries"), [(Transient, 2), (BadData, 1)])
def test_only_a_transient_failure_is_retried(error: type[Exception], tries: int) -> None:
    tried: list[int] = []

    def fails(number: int) -> None:
        tried.append(number)
        if len(tried) < 2:
            raise error("not now", do="wait")  # type: ignore[call-arg] (both take `do`)

    state = made(Rows([page((1, "a", 1))], before=fails))(return_state=True)
    assert len(tried) == tries
    assert state.is_completed() == (tries == 2)


def test_no_task_result_is_persisted() -> None:
    state = made(Rows([page((1, "a", 1))]))(return_state=True)
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_task_runs() if run.flow_run_id == state.state_details.flow_run_id]
    assert {run.name.split("-")[0] for run in runs} >= {"extract", "close"}
    assert all(run.state is not None and run.state.is_completed() for run in runs)
