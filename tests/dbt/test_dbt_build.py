"""The flow that builds the dbt project: what its runs say when all is well and when something is not."""

import json
import os

import pytest
from prefect.client.orchestration import get_client

from flows.operate.dbt_build import _alone, dbt_build
from tasks.errors import BadData, Misconfigured
from tests.dbt.hand_made import flown, load


@pytest.fixture(autouse=True)
def environment(monkeypatch, loaded):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", loaded.dsn.get_secret_value())


def newest_table() -> list[dict]:
    """The table that the last run left."""
    with get_client(sync_client=True) as client:
        tables = [artifact for artifact in client.read_artifacts() if artifact.key == "dbt-build"]
    return json.loads(max(tables, key=lambda artifact: artifact.created).data)


def test_a_build_counts_passes_and_lists_every_node(prefect_api):
    counts = dbt_build(select="source:nyc stg_nyc__airlines")
    table = newest_table()
    assert (set(counts), sum(counts.values())) == ({"pass", "success"}, len(table))
    assert {"source", "test", "model"} == {row["kind"] for row in table}


def test_a_failed_test_and_a_stale_source_fail_the_run_by_name(loaded, prefect_api):
    load(loaded, "nyc_flights", [flown(77, 0, carrier="ZZ")])
    with loaded.connect() as conn:
        conn.execute("update ledger.batch set loaded_at = now() - interval '9 days' where pipeline = 'nyc_planes'")
    try:
        with pytest.raises(BadData) as raised:
            dbt_build(select="source:nyc")
    finally:
        with loaded.connect() as conn:
            conn.execute("delete from raw.nyc_flights where flight = 77")
            conn.execute("update ledger.batch set loaded_at = now()")
    assert "source_relationships_nyc_nyc_flights_carrier" in str(raised.value)
    assert "source nyc_planes (last loaded" in str(raised.value)
    assert {row["status"] for row in newest_table()[:2]} == {"fail", "error"}


def test_an_option_in_the_selection_is_refused():
    with pytest.raises(Misconfigured, match="names of models"):
        dbt_build.fn(select="marts --profiles-dir elsewhere")


def test_a_selection_that_dbt_cannot_read_is_explained(prefect_api):
    with pytest.raises(Misconfigured, match="dbt could not run"):
        dbt_build.fn(select="no_such_method:x")


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
