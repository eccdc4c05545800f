"""The dbt project, built by dbt itself over hand-made rows."""

import json
from decimal import Decimal

import pytest

from tests.dbt.hand_made import CONTRACTS, PROJECT, contract, run_dbt


@pytest.fixture(scope="module")
def built(loaded, tmp_path_factory):
    """The folder that one whole `dbt build` wrote to, and what it printed."""
    output = tmp_path_factory.mktemp("dbt")
    return output, run_dbt(loaded, output, "build")


@pytest.fixture(scope="module")
def manifest(built):
    return json.loads((built[0] / "target" / "manifest.json").read_text())


def documented(node: dict) -> set[str]:
    return {name for name, column in node["columns"].items() if column["description"]}


def test_build_passes_every_model_and_test(built):
    assert built[1].returncode == 0, built[1].stdout
    results = json.loads((built[0] / "target" / "run_results.json").read_text())["results"]
    assert {result["status"] for result in results} == {"success", "pass"}


def test_delay_is_split_by_weather(built, loaded):
    with loaded.connect() as conn:
        rows = conn.execute(
            "select carrier_name, month::text, flights, cancelled, mean_arrival_delay_minutes, mean_arrival_delay_in_fair_weather_minutes,"
            " mean_arrival_delay_in_bad_weather_minutes from marts.delay_by_carrier_month order by flights desc"
        ).fetchall()
    assert rows == [
        ("United Air Lines Inc.", "2013-01-01", 4, 1, Decimal("18.0"), Decimal("10.0"), Decimal("50.0")),
        ("Delta Air Lines Inc.", "2013-01-01", 1, 0, Decimal("0.0"), Decimal("0.0"), None),
    ]


def test_routes_count_flights_and_seats(built, loaded):
    with loaded.connect() as conn:
        rows = conn.execute("select destination_name, flights, cancelled, seats_flown from marts.routes order by 1").fetchall()
    assert rows == [("ATL Airport", 1, 0, 100), ("IAH Airport", 4, 1, 200)]


@pytest.mark.parametrize("pipeline", CONTRACTS)
def test_contract_and_dbt_source_name_the_same_columns(manifest, pipeline):
    source = manifest["sources"][f"source.millrace.nyc.{pipeline}"]
    assert set(source["columns"]) == {column.name for column in contract(pipeline).columns}
    assert documented(source) == set(source["columns"])


def test_every_column_of_a_model_is_documented(built, manifest, loaded):
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    query = "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
    with loaded.connect() as conn:
        for node in models:
            found = {name for (name,) in conn.execute(query, [node["schema"], node["name"]])}
            assert (node["name"], documented(node)) == (node["name"], found)


def test_every_model_is_described(manifest):
    undescribed = [node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "model" and not node["description"]]
    assert (len(manifest["nodes"]) > 8, undescribed) == (True, [])


def test_the_password_is_in_no_file_of_the_build(built, loaded):
    password = loaded.dbt_env()["MILLRACE_DBT_PASSWORD"].encode()
    files = [path for path in built[0].rglob("*") if path.is_file()]
    assert (len(files) > 5, [path for path in files if password in path.read_bytes()]) == (True, [])


def test_building_leaves_nothing_in_the_project(built):
    assert {path.name for path in PROJECT.iterdir()} == {"dbt_project.yml", "profiles.yml", "macros", "models", "tests"}


def test_dbt_has_no_package_file():
    assert not (PROJECT / "__init__.py").exists()
