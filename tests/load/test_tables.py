"""Making tables ready: what grows by itself, what is refused, and whose tables are left alone."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import psycopg
import pytest

from blocks.warehouse import Warehouse
from tasks.errors import Misconfigured
from tasks.load.destination import Column
from tasks.load.tables import Table, make_ready, make_twin

ID, NAME = Column("id", pl.Int64(), False), Column("name", pl.String(), True)
ORDERS = Table.named("raw.orders")


@pytest.fixture
def conn(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    with warehouse.connect() as opened:
        make_ready(opened, ORDERS, [ID, NAME], ("id",), "Orders.")
        yield opened


def ready(conn: psycopg.Connection, *columns: Column, key: tuple[str, ...] = ("id",)) -> None:
    make_ready(conn, ORDERS, columns, key, "Orders.")


def columns_of(conn: psycopg.Connection) -> dict[str, bool]:
    """Name → NOT NULL."""
    found = conn.execute("SELECT attname, attnotnull FROM pg_attribute WHERE attrelid = 'raw.orders'::regclass AND attnum > 0")
    return dict(found.fetchall())


def test_required_columns_are_not_null(conn: psycopg.Connection) -> None:
    assert columns_of(conn) == {"id": True, "name": False, "_batch": True, "_row": False, "_hash": True}


def test_second_time_changes_nothing(conn: psycopg.Connection) -> None:
    before = conn.execute("SELECT xmin FROM pg_class WHERE relname = 'orders'").fetchone()
    ready(conn, ID, NAME)
    assert conn.execute("SELECT xmin FROM pg_class WHERE relname = 'orders'").fetchone() == before


def test_required_column_may_join_an_empty_table(conn: psycopg.Connection) -> None:
    ready(conn, ID, NAME, Column("must", pl.Date(), False))
    assert columns_of(conn)["must"] is True


def test_required_column_is_refused_when_rows_are_there(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO raw.orders VALUES (1, 'a', 1, 0, 0)")
    with pytest.raises(Misconfigured, match=r"'must' \(date\) is required but the table lacks it"):
        ready(conn, ID, NAME, Column("must", pl.Date(), False))


def test_column_that_left_the_contract_stays_if_it_may_be_null(conn: psycopg.Connection) -> None:
    ready(conn, ID)
    assert "name" in columns_of(conn)


def test_column_that_left_the_contract_but_is_required_is_named(conn: psycopg.Connection) -> None:
    conn.execute("ALTER TABLE raw.orders ALTER name SET NOT NULL")
    with pytest.raises(Misconfigured, match="'name' that is NOT NULL and not in the contract"):
        ready(conn, ID)


def test_other_key_is_named(conn: psycopg.Connection) -> None:
    with pytest.raises(Misconfigured, match=r"key should be \(id, name\), the table has \(id\)"):
        ready(conn, ID, NAME, key=("id", "name"))


def test_changed_description_becomes_the_comment(conn: psycopg.Connection) -> None:
    ready(conn, ID, Column("name", pl.String(), True, 'It\'s "who".'))
    assert conn.execute("SELECT col_description('raw.orders'::regclass, 2)").fetchone() == ('It\'s "who".',)


def test_view_is_not_a_table(conn: psycopg.Connection) -> None:
    conn.execute("CREATE VIEW raw.seen AS SELECT 1 AS id")
    with pytest.raises(Misconfigured, match="not a table"):
        make_ready(conn, Table.named("raw.seen"), [ID], (), "")


@pytest.mark.parametrize("name", ["ctid", "xmin", "_hash", "_batch", "x" * 64, "", "a\0"])
def test_column_name_that_cannot_be_is_refused(conn: psycopg.Connection, name: str) -> None:
    with pytest.raises(Misconfigured):
        ready(conn, ID, Column(name, pl.String(), True))


def test_foreign_table_in_the_place_of_the_twin_is_left_alone(conn: psycopg.Connection) -> None:
    conn.execute("CREATE TABLE raw.orders__staging (precious int)")
    with pytest.raises(Misconfigured, match="not a staging table of ours"):
        make_twin(conn, ORDERS, [ID], ("id",), run=1)
    conn.execute("SELECT precious FROM raw.orders__staging")


def test_twin_of_this_run_is_kept_and_of_another_dropped(conn: psycopg.Connection) -> None:
    make_twin(conn, ORDERS, [ID], ("id",), run=1)
    conn.execute("INSERT INTO raw.orders__staging VALUES (1, 1, 0, 0)")
    make_twin(conn, ORDERS, [ID], ("id",), run=1)
    assert conn.execute("SELECT count(*) FROM raw.orders__staging").fetchone() == (1,)
    make_twin(conn, ORDERS, [ID], ("id",), run=2)
    assert conn.execute("SELECT count(*) FROM raw.orders__staging").fetchone() == (0,)


def test_role_without_rights_is_misconfigured_not_retried(warehouse: Warehouse) -> None:
    from tasks.load.append import Append
    from tasks.load.destination import Target

    with warehouse.connect() as conn:
        conn.execute("CREATE ROLE visitor_of_tables")
        conn.execute("SET LOCAL ROLE visitor_of_tables")
        with pytest.raises(Misconfigured, match="may not"):
            Append("raw.orders").prepare(conn, Target("raw.orders", [ID], "orders", 1))
        conn.rollback()
