"""What the user sees when a database misbehaves, and that types come out exactly."""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal

import polars as pl
import pytest

from blocks.warehouse import Warehouse
from tasks.batch import Interval
from tasks.errors import BadData, Misconfigured, Transient
from tasks.extract.since import Since
from tasks.extract.source import Request
from tasks.extract.sql import Sql


@pytest.fixture(autouse=True)
def database(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE orders AS SELECT id, repeat('x', 200) AS note FROM generate_series(1, 100) AS id")
    return warehouse


def frame(query: str) -> pl.DataFrame:
    return next(Sql(query=query).read(Request("things"))).rows


def test_a_dropped_connection_is_transient_and_goes_on(database: Warehouse) -> None:
    with database.connect() as connection:
        connection.execute("INSERT INTO orders SELECT id, repeat('x', 200) FROM generate_series(101, 200000) AS id")
    source = Sql(table="public.orders", key=("id",))
    reading = source.read(Request("orders", batch_rows=1000))
    page = next(reading)
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    with pytest.raises(Transient, match="was interrupted") as caught:
        for page in reading:  # noqa: B007  # what was buffered still comes
            pass
    assert "behind the last row" in caught.value.do
    rest = sum(each.rows.height for each in source.read(Request("orders", start=page.position)))
    assert rest == 200_000 - int(page.rows["id"][-1])


def test_a_missing_table_names_close_ones() -> None:
    with pytest.raises(Misconfigured, match=r'relation "public\.order" does not exist') as caught:
        next(Sql(table="public.order").read(Request("things")))
    assert "public.orders" in caught.value.do


def test_a_missing_column_names_close_ones() -> None:
    with pytest.raises(Misconfigured, match="no column `notes`") as caught:
        next(Sql(table="public.orders", since=Since("notes")).read(Request("things")))
    assert "there are: note" in caught.value.do


def test_wrong_sql_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="syntax error"):
        frame("SELECT FROM WHERE")


def test_a_query_that_writes_is_refused() -> None:
    with pytest.raises(Misconfigured, match="read-only transaction"):
        frame("SELECT lo_create(0)")


def test_infinity_is_bad_data_that_names_the_column() -> None:
    with pytest.raises(BadData, match=r"`until`.*infinity") as caught:
        frame("SELECT 'infinity'::timestamptz AS until")
    assert "text" in caught.value.do


def test_a_window_without_since_is_refused() -> None:
    with pytest.raises(Misconfigured, match="no Since"):
        next(Sql(table="public.orders").read(Request("things", interval=Interval(datetime(2024, 1, 1), None))))


def test_a_tables_primary_key_is_found(database: Warehouse) -> None:
    with database.connect() as connection:
        connection.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
    assert next(Sql(table="public.orders").read(Request("things", batch_rows=10))).position.resume == {"last": [10], "low": None}


def test_types_come_out_exactly() -> None:
    found = frame(
        """SELECT 12.30::numeric(10,2) AS declared, 1.25::numeric AS free, '{1,2}'::int[] AS list, '{"a": 1}'::jsonb AS json,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid, '1 day'::interval AS span, time '10:00' AS clock, 'x'::text AS word,
        timestamptz '2024-01-01 00:00:00.123456+02' AS moment, true AS flag, 7::bigint AS whole, NULL::numeric(5,1) AS nothing"""
    ).row(0, named=True)
    assert found["declared"] == Decimal("12.30")
    assert found["free"] == Decimal("1.25")
    assert (found["list"], found["json"], found["span"], found["clock"]) == ("[1,2]", '{"a": 1}', "1 day", time(10))
    assert found["moment"].isoformat() == "2023-12-31T22:00:00.123456+00:00"
    assert found["nothing"] is None


@pytest.mark.parametrize("number", ["NaN", "0.1234567890123456789012", "123456789012345678901234567890"])
def test_numbers_that_no_decimal_holds_stay_text(number: str) -> None:
    assert frame(f"SELECT '{number}'::numeric AS n")["n"].to_list() == [number]


def test_rows_with_a_null_in_the_key_are_not_lost() -> None:
    source = Sql(query="SELECT * FROM (VALUES (1, 'a'), (1, NULL), (NULL, 'b'), (NULL, NULL)) AS v (x, y)", key=("x", "y"))
    pages = list(source.read(Request("things", batch_rows=1)))
    for number, page in enumerate(pages):
        again = list(source.read(Request("things", start=page.position, batch_rows=1)))
        assert [each.rows.row(0) for each in again] == [each.rows.row(0) for each in pages[number + 1 :]]
