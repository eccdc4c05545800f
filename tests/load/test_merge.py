"""Merging by key against a plain dict, whatever way the stored rows are read, and two writers at once."""

from __future__ import annotations

import time as time_module
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import sha256
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from blocks.warehouse import Warehouse
from tasks.batch import Counts
from tasks.errors import BadData, Transient
from tasks.load.destination import Column, Target
from tasks.load.failures import explained
from tasks.load.merge import Way, merge, winners
from tasks.load.upsert import Upsert

WAYS: list[Way | None] = [None, "range", "keys"]
SCHEMA = {"a": pl.Int64, "b": pl.String, "age": pl.Int64, "v": pl.Int64, "_row": pl.Int32}
ORDERS = sql.Identifier("orders")

rows = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["", "x", "Y", "é"]), st.none() | st.integers(0, 3), st.integers(0, 3)), max_size=12
)
histories = st.lists(rows, max_size=5)


def batch_of(history: list[tuple[Any, ...]], number: int) -> pl.DataFrame:
    """Rows as the strategies stamp them; the value stands in for the hash."""
    there = pl.DataFrame([(*row, n) for n, row in enumerate(history)], schema=SCHEMA, orient="row")
    hashed = pl.col("age").fill_null(-1) * 1000 + pl.col("v")
    return there.select("a", "b", "age", "v", pl.lit(number, pl.Int32).alias("_batch"), "_row", hashed.alias("_hash"))


def oracle(histories: list[list[tuple[Any, ...]]], newest: bool) -> dict[tuple[int, str], tuple[Any, ...]]:
    """The table as a dict: a row wins over the one before unless it is older."""
    table: dict[tuple[int, str], tuple[Any, ...]] = {}
    for history in histories:
        for a, b, age, v in history:
            stored = table.get((a, b))
            if stored and newest and (age is None, -(age or 0)) > (stored[0] is None, -(stored[0] or 0)):
                continue
            table[a, b] = (age, v)
    return table


@pytest.fixture
def conn(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    with warehouse.connect() as opened:
        opened.execute("CREATE TABLE orders (a int8, b text, age int8, v int8, _batch int4, _row int4, _hash int8, PRIMARY KEY (a, b))")
        opened.commit()
        yield opened


@pytest.mark.parametrize("newest", [None, "age"])
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=histories)
def test_table_equals_a_dict(conn: psycopg.Connection, way: Way | None, newest: str | None, histories: list[list[tuple[Any, ...]]]) -> None:
    try:
        for number, history in enumerate(histories):
            counts = merge(conn, ORDERS, batch_of(history, number), ("a", "b"), newest, way=way)
            assert counts.accounted == len(history)
        found = {(a, b): (age, v) for a, b, age, v in conn.execute("SELECT a, b, age, v FROM orders")}
        assert found == oracle(histories, newest is not None)
    finally:
        conn.rollback()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_counts_the_same(conn: psycopg.Connection, way: Way | None) -> None:
    merge(conn, ORDERS, batch_of([(n, "x", 2, 0) for n in range(100)], 1), ("a", "b"), "age")
    mixed = batch_of([(5, "x", 2, 0), (6, "x", 2, 9), (7, "x", 1, 9), (7, "y", 1, 1), (7, "y", 1, 2)], 2)
    counts = merge(conn, ORDERS, mixed, ("a", "b"), "age", way=way)
    assert counts == Counts(inserted=1, updated=1, unchanged=1, duplicate=2)


def test_small_batch_against_a_dense_range_reads_by_key(conn: psycopg.Connection) -> None:
    merge(conn, ORDERS, batch_of([(n, "x", 2, 0) for n in range(5000)], 1), ("a", "b"), "age")
    counts = merge(conn, ORDERS, batch_of([(0, "x", 2, 0), (4999, "x", 2, 9)], 2), ("a", "b"), "age")
    assert counts == Counts(unchanged=1, updated=1)


def test_key_inserted_by_another_writer_is_transient(warehouse: Warehouse, conn: psycopg.Connection) -> None:
    with warehouse.connect() as other:
        merge(other, ORDERS, batch_of([(1, "x", 1, 1)], 1), ("a", "b"), None)
        other.commit()
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT 1")
        merge(other, ORDERS, batch_of([(2, "x", 1, 1)], 2), ("a", "b"), None)
        other.commit()
        with pytest.raises(Transient, match="Another writer"), explained("orders", "p"):
            merge(conn, ORDERS, batch_of([(1, "x", 1, 1), (2, "x", 1, 2)], 3), ("a", "b"), None)


def test_row_changed_by_another_writer_is_not_overwritten_by_an_older_one(warehouse: Warehouse, conn: psycopg.Connection) -> None:
    with warehouse.connect() as other, warehouse.connect(autocommit=True) as onlooker, ThreadPoolExecutor(1) as pool:
        merge(other, ORDERS, batch_of([(1, "x", 1, 1)], 1), ("a", "b"), "age")
        other.commit()
        merge(other, ORDERS, batch_of([(1, "x", 9, 9)], 2), ("a", "b"), "age")
        older = pool.submit(merge, conn, ORDERS, batch_of([(1, "x", 5, 5)], 3), ("a", "b"), "age")
        while not onlooker.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", [conn.info.backend_pid]).fetchone():
            time_module.sleep(0.01)
        other.commit()
        with pytest.raises(Transient, match="1 rows were there to be updated, 0 were found"):
            older.result(timeout=30)


def test_key_too_long_for_an_index_is_bad_data(conn: psycopg.Connection) -> None:
    long = "".join(sha256(str(number).encode()).hexdigest() for number in range(200))
    with pytest.raises(BadData, match="cannot hold a value this large"), explained("orders", "p"):
        merge(conn, ORDERS, batch_of([(1, long, 1, 1)], 1), ("a", "b"), None)


KEYS = {
    "smallint": [pl.Series([-2, 0, 3], dtype=pl.Int16)],
    "unsigned": [pl.Series([0, 2**32 - 1], dtype=pl.UInt32)],
    "huge": [pl.Series([0, 2**64 - 1], dtype=pl.UInt64)],
    "decimal": [pl.Series([Decimal("-1.50"), Decimal("0.00"), Decimal("20.25")], dtype=pl.Decimal(10, 2))],
    "float": [pl.Series([float("-inf"), -0.5, 0.0, 1e300, float("nan")])],
    "boolean": [pl.Series([False, True])],
    "date": [pl.Series([date(1582, 1, 1), date(2000, 1, 1), date(9999, 12, 31)])],
    "instant": [pl.Series([datetime(1901, 2, 3, tzinfo=UTC), datetime(2026, 1, 1, 1, 2, 3, 45, tzinfo=UTC)])],
    "local time": [pl.Series([datetime(1901, 2, 3), datetime(2026, 1, 1, 1, 2, 3, 45)])],
    "nanoseconds": [pl.Series([1, 1_001], dtype=pl.Int64).cast(pl.Datetime("ns"))],
    "time": [pl.Series([time(0, 0), time(23, 59, 59, 999_999)])],
    "text": [pl.Series(["", "A", "a", "é", "🚲", "a b"])],
    "bytes": [pl.Series([b"", b"\x00", b"\xff\x00"])],
    "enum": [pl.Series(["z", "a"], dtype=pl.Enum(["z", "a"]))],
    "pair": [pl.Series([1, 1, 2]), pl.Series(["b", "c", "a"])],
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_are_found_again_by_any_key(warehouse: Warehouse, kind: str) -> None:
    keys = pl.DataFrame({f"k{n}": values for n, values in enumerate(KEYS[kind])})
    columns = [Column(name, dtype, False) for name, dtype in keys.schema.items()] + [Column("v", pl.Int64(), True)]
    destination, first = Upsert("raw.keyed", key=tuple(keys.columns)), keys.with_columns(v=pl.int_range(pl.len()))
    target = Target("raw.keyed", columns, "keyed", 1)
    with warehouse.connect() as conn:
        destination.prepare(conn, target)
        numbered = first.with_columns(_row=pl.int_range(pl.len(), dtype=pl.UInt32))
        assert destination.load(conn, target, numbered, 1).inserted == keys.height
        assert destination.load(conn, target, numbered.reverse(), 2).unchanged == keys.height
        assert destination.load(conn, target, numbered.with_columns(pl.col("v") + 1), 3).updated == keys.height


def test_ages_of_every_type_are_compared(warehouse: Warehouse) -> None:
    ages = [pl.Series([date(2026, 1, 1), None]), pl.Series(["a", None]), pl.Series([Decimal("1.5"), None]), pl.Series([1.5, None])]
    with warehouse.connect() as conn:
        for n, age in enumerate(ages):
            columns = [Column("id", pl.Int64(), False), Column("age", age.dtype, True)]
            destination, target = Upsert(f"raw.aged{n}", key=("id",), newest="age"), Target(f"raw.aged{n}", columns, "aged", 1)
            rows = pl.DataFrame({"id": [1, 1], "age": age, "_row": pl.Series([0, 1], dtype=pl.UInt32)})
            destination.prepare(conn, target)
            assert destination.load(conn, target, rows.head(1), 1) == Counts(inserted=1)
            assert destination.load(conn, target, rows.tail(1), 2) == Counts(duplicate=1)


def test_winner_has_the_greatest_age_then_comes_last() -> None:
    there = batch_of([(1, "x", 2, 0), (1, "x", 3, 1), (1, "x", 3, 2), (1, "x", None, 3), (0, "x", None, 4)], 1)
    assert winners(there, ("a", "b"), "age")["v"].to_list() == [4, 2]
    assert winners(there, ("a", "b"), None)["v"].to_list() == [4, 3]
