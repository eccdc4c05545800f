"""The flow that builds the dbt project: what its runs say when all is well and when something is not."""

import json
import os
import subprocess
import sys

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType

from flows.operate.dbt_build import _alone, dbt_build
from tasks.errors import Misconfigured
from tests.dbt.hand_made import PROJECT, flown, load


@pytest.fixture(autouse=True)
def environment(monkeypatch, loaded):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", loaded.dsn.get_secret_value())


def build(select: str) -> tuple[State, list[dict]]:
    """Run the flow in a process of its own, as a worker does; its final state and its table."""
    code = f"from flows.operate.dbt_build import dbt_build; dbt_build(select={select!r}, return_state=True)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=PROJECT.parent)
    with get_client(sync_client=True) as client:
        run = max((run for run in client.read_flow_runs() if select in run.name), key=lambda run: run.created)
        tables = [a for a in client.read_artifacts() if (a.key, a.flow_run_id) == ("dbt-build", run.id)]
    return run.state, json.loads(tables[0].data) if tables else []


def test_a_build_lists_every_node_with_its_status(prefect_api):
    state, table = build("source:nyc stg_nyc__airlines")
    assert (state.type, {row["status"] for row in table}) == (StateType.COMPLETED, {"pass", "success"})
    assert {row["kind"] for row in table} == {"source", "test", "model"}


def test_a_failed_test_and_a_stale_source_fail_the_run_by_name(loaded, prefect_api):
    load(loaded, "nyc_flights", [flown(77, 0, carrier="ZZ")])
    with loaded.connect() as conn:
        conn.execute("update ledger.batch set loaded_at = now() - interval '9 days' where pipeline = 'nyc_planes'")
    state, table = build("source:nyc")
    with loaded.connect() as conn:
        conn.execute("delete from raw.nyc_flights where flight = 77")
        conn.execute("update ledger.batch set loaded_at = now()")
    assert state.type == StateType.FAILED
    assert "source_relationships_nyc_nyc_flights_carrier" in state.message
    assert "source nyc_planes (last loaded" in state.message
    assert {row["status"] for row in table[:2]} == {"fail", "error"}


def test_a_selection_that_dbt_cannot_read_is_explained(prefect_api):
    state, _ = build("no_such_method:x")
    assert "dbt could not run" in state.message
    assert "no_such_method" in state.message


def test_an_option_in_the_selection_is_refused():
    with pytest.raises(Misconfigured, match="names of models"):
        dbt_build.fn(select="marts --profiles-dir elsewhere")


def test_two_builds_in_one_process_are_refused():
    with _alone(), pytest.raises(Misconfigured, match="Another dbt build"):
        dbt_build.fn()


def test_outside_of_the_project_it_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match="no dbt project"):
        dbt_build.fn()


def test_the_warehouse_password_leaves_the_environment_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured):
        dbt_build.fn()
    assert not [name for name in os.environ if name.startswith("MILLRACE_DBT_")]
