"""A full refresh: applied as a difference, invisible until it commits, refused when it would empty the table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.warehouse import Warehouse
from tasks.batch import Counts
from tasks.errors import BadData
from tasks.load.append import Append
from tasks.load.destination import Column, Destination, Target
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert

COLUMNS = [Column("id", pl.Int64(), False), Column("v", pl.Int64(), True)]
TABLE = "raw.things"


def stage(conn: psycopg.Connection, destination: Destination, rows: list[tuple[int, Any]], run: int) -> Target:
    """Everything of a staged run but its end."""
    target = Target(TABLE, COLUMNS, "things", run, staged=True)
    frame = pl.DataFrame(rows, schema={"id": pl.Int64, "v": pl.Int64}, orient="row")
    destination.prepare(conn, target)
    destination.load(conn, target, frame.with_columns(_row=pl.int_range(pl.len(), dtype=pl.UInt32)), run)
    return target


def refresh(conn: psycopg.Connection, destination: Destination, rows: list[tuple[int, Any]], run: int, before: int | None = None) -> Counts:
    return destination.finish(conn, stage(conn, destination, rows, run), before)


def table(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT id, v FROM raw.things ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("destination", [Replace(TABLE, key=("id",)), Upsert(TABLE, key=("id",), newest="v")], ids=["replace", "upsert"])
def test_only_the_difference_is_written(warehouse: Warehouse, destination: Destination) -> None:
    with warehouse.connect() as conn:
        refresh(conn, destination, [(1, 1), (2, 2), (3, 3)], 1)
        assert refresh(conn, destination, [(1, 1), (2, 1), (4, 4)], 2) == Counts(inserted=1, updated=1, unchanged=1, deleted=1)
        assert conn.execute("SELECT id, v, _batch FROM raw.things ORDER BY id").fetchall() == [(1, 1, 1), (2, 1, 2), (4, 4, 2)]


bags = st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 1)), min_size=1, max_size=10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bags=st.lists(bags, min_size=2, max_size=3))
def test_bag_of_rows_equals_the_source(warehouse: Warehouse, bags: list[list[tuple[int, Any]]]) -> None:
    with warehouse.connect() as conn:
        before: Counter[Any] = Counter()
        for run, bag in enumerate(bags, 1):
            counts = refresh(conn, Replace(TABLE, max_shrink=1), bag, run)
            kept = (before & Counter(bag)).total()
            assert counts == Counts(inserted=len(bag) - kept, unchanged=kept, deleted=before.total() - kept)
            before = Counter(bag)
            assert Counter(table(conn)) == before
        conn.rollback()


@pytest.mark.parametrize("destination", [Replace(TABLE), Append(TABLE), Upsert(TABLE, key=("id",))], ids=["replace", "append", "upsert"])
@pytest.mark.parametrize("rows", [[], [(1, 1)]], ids=["empty", "shrunk"])
def test_shrunken_source_leaves_the_table_alone(warehouse: Warehouse, destination: Destination, rows: list[tuple[int, Any]]) -> None:
    many = [(n, n) for n in range(10)]
    with warehouse.connect() as conn:
        refresh(conn, destination, many, 1)
        with pytest.raises(BadData, match=r"shrink from 10 to [01] rows; at least 5.*max_shrink"):
            refresh(conn, destination, rows, 2)
        assert table(conn) == many


def test_shrinkage_is_measured_against_what_the_run_names(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        refresh(conn, Replace(TABLE), [(1, 1), (2, 2)], 1)
        with pytest.raises(BadData, match="from 100 to 2 rows"):
            refresh(conn, Replace(TABLE), [(1, 1), (2, 2)], 2, before=100)


def test_emptying_can_be_allowed(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        refresh(conn, Replace(TABLE), [(1, 1)], 1)
        assert refresh(conn, Replace(TABLE, max_shrink=1), [], 2).deleted == 1


def test_readers_see_the_old_table_until_commit_and_never_wait(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn, warehouse.connect(autocommit=True) as reader:
        reader.execute("SET lock_timeout = '2s'")
        refresh(conn, Replace(TABLE), [(1, 1), (2, 2)], 1)
        conn.commit()
        target = stage(conn, Replace(TABLE), [(2, 2), (3, 3)], 2)
        assert table(reader) == [(1, 1), (2, 2)]
        Replace(TABLE).finish(conn, target, None)
        assert table(reader) == [(1, 1), (2, 2)]
        conn.commit()
        assert table(reader) == [(2, 2), (3, 3)]


def test_views_and_grants_survive(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        refresh(conn, Replace(TABLE), [(1, 1)], 1)
        conn.execute("CREATE VIEW raw.seen AS SELECT id FROM raw.things")
        conn.execute("GRANT SELECT ON raw.things TO PUBLIC")
        refresh(conn, Replace(TABLE), [(2, 2)], 2)
        assert conn.execute("SELECT id FROM raw.seen").fetchall() == [(2,)]
        assert conn.execute("SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE relname = 'things'").fetchone() == (True,)
        assert conn.execute("SELECT to_regclass('raw.things__staging')").fetchone() == (None,)
