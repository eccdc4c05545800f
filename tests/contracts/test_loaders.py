"""One suite for every PostgreSQL destination, loading straight and through a staging twin; what is there is read on a second connection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import polars as pl
import psycopg
import pytest

from blocks.embedded import Server, create_database, drop_database
from blocks.warehouse import Warehouse
from tasks.batch import Counts
from tasks.errors import BadData, Misconfigured
from tasks.load.append import Append
from tasks.load.destination import Column, Destination, Target
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert
from tests.conftest import as_warehouse

COLUMNS = [
    Column("id", pl.Int64(), False, "Number of the order."),
    Column("name", pl.String(), True, "Who ordered."),
    Column("changed", pl.Datetime("us", "UTC"), True),
]
TABLE = "raw.orders"


@dataclass(frozen=True)
class Case:
    """A destination and what it promises."""

    destination: Destination
    staged: bool
    keyed: bool = True
    by_age: bool = False


CASES = {
    "upsert": Case(Upsert(TABLE, key=("id",)), staged=False),
    "upsert staged": Case(Upsert(TABLE, key=("id",)), staged=True),
    "upsert newest": Case(Upsert(TABLE, key=("id",), newest="changed"), staged=False, by_age=True),
    "upsert newest staged": Case(Upsert(TABLE, key=("id",), newest="changed"), staged=True, by_age=True),
    "append": Case(Append(TABLE), staged=False, keyed=False),
    "append staged": Case(Append(TABLE), staged=True, keyed=False),
    "replace": Case(Replace(TABLE, key=("id",)), staged=True),
    "replace without key": Case(Replace(TABLE), staged=True, keyed=False),
}


class Loader:
    """A case on a fresh database; each call of `run` is one complete run."""

    def __init__(self, case: Case, warehouse: Warehouse, conn: psycopg.Connection) -> None:
        self.case, self.warehouse, self.conn = case, warehouse, conn
        self.runs, self.batches = 0, 0
        self.finished = Counts()

    def target(self, columns: Sequence[Column] = COLUMNS, table: str = TABLE) -> Target:
        return Target(table, columns, "orders", self.runs, self.case.staged)

    def run(self, *frames: pl.DataFrame, columns: Sequence[Column] = COLUMNS) -> Counts:
        """Prepare, load each frame as a batch, finish; every step commits. Returns what the batches counted."""
        self.runs += 1
        target = self.target(columns)
        self.case.destination.prepare(self.conn, target)
        self.conn.commit()
        counts = [self.load(frame, target) for frame in frames]
        self.finished = self.case.destination.finish(self.conn, target, None)
        self.conn.commit()
        return reduce(add, counts, Counts())

    def load(self, frame: pl.DataFrame, target: Target) -> Counts:
        self.batches += 1
        counts = self.case.destination.load(self.conn, target, frame, self.batches)
        assert counts.accounted == frame.height
        self.conn.commit()
        return counts

    def rows(self, query: str = "SELECT id, name FROM raw.orders ORDER BY 1, 2") -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as second:
            return second.execute(query.encode()).fetchall()


def frame(*rows: tuple[int, str | None, int | None]) -> pl.DataFrame:
    """Rows of (id, name, seconds of `changed`)."""
    there = pl.DataFrame(list(rows), schema={"id": pl.Int64, "name": pl.String, "changed": pl.Int64}, orient="row")
    changed = (pl.col("changed") * 1_000_000).cast(pl.Datetime("us", "UTC"))
    return there.with_columns(changed, _row=pl.int_range(pl.len(), dtype=pl.UInt32))


@pytest.fixture(scope="module")
def shared(postgres: Server) -> Iterator[Warehouse]:
    """One database for the whole suite: making one takes longer than most of these tests."""
    server = create_database(postgres, f"loaders_{uuid.uuid4().hex}")
    yield as_warehouse(server)
    drop_database(server)


@pytest.fixture(params=CASES)
def loader(request: pytest.FixtureRequest, shared: Warehouse) -> Iterator[Loader]:
    with shared.connect() as conn:
        yield Loader(CASES[request.param], shared, conn)
        conn.rollback()
        conn.execute("DROP SCHEMA IF EXISTS raw CASCADE")


@pytest.fixture
def keyed(loader: Loader) -> Loader:
    """A loader that knows its rows by key; the others keep what comes, which `test_rows_without_key_are_all_kept` holds."""
    if not loader.case.keyed:
        loader.case = Case(Upsert(TABLE, key=("id",)), loader.case.staged)
    return loader


TWO = frame((1, "Ada", 10), (2, None, None))


def test_every_destination_fulfils_the_protocol(loader: Loader) -> None:
    assert isinstance(loader.case.destination, Destination)


def test_rows_are_there_after_one_run(loader: Loader) -> None:
    loader.run(TWO)
    assert loader.rows() == [(1, "Ada"), (2, None)]


def test_same_run_twice_changes_nothing(keyed: Loader) -> None:
    keyed.run(TWO)
    before = keyed.rows("SELECT *, xmin FROM raw.orders ORDER BY id")
    keyed.run(TWO)
    assert keyed.rows("SELECT *, xmin FROM raw.orders ORDER BY id") == before


def test_same_batch_twice_in_a_run_is_once(keyed: Loader) -> None:
    counts = keyed.run(TWO, TWO)
    assert (counts.inserted, counts.unchanged) == (2, 2)
    assert keyed.rows() == [(1, "Ada"), (2, None)]


def test_rows_without_key_are_all_kept(loader: Loader) -> None:
    counts = loader.run(TWO, TWO)
    assert len(loader.rows()) == (2 if loader.case.keyed else 4) == counts.inserted


def test_last_write_wins(keyed: Loader) -> None:
    keyed.run(TWO)
    keyed.run(frame((1, "Ada", 10), (2, "Bob", 20)))
    assert keyed.rows() == [(1, "Ada"), (2, "Bob")]
    assert keyed.rows("SELECT _batch, _row FROM raw.orders ORDER BY id") == [(1, 0), (2, 1)]


def test_last_of_equal_keys_in_a_batch_wins(keyed: Loader) -> None:
    counts = keyed.run(frame((1, "old", 10), (2, "only", 1), (1, "new", 10)))
    assert (counts.inserted, counts.duplicate) == (2, 1)
    assert keyed.rows() == [(1, "new"), (2, "only")]


def test_key_across_batches_is_updated(keyed: Loader) -> None:
    counts = keyed.run(frame((1, "a", 1), (3, "c", 1)), frame((1, "b", 2), (2, "x", 2)))
    assert (counts.inserted, counts.updated) == (3, 1)
    assert keyed.rows() == [(1, "b"), (2, "x"), (3, "c")]


def test_older_row_never_overwrites_a_newer(loader: Loader) -> None:
    counts = loader.run(frame((1, "new", 20), (1, "old", 10)), frame((1, "older", 5), (1, "ageless", None)))
    expected = {"name": ("new", 3), "rows": 1} if loader.case.by_age else {"name": ("ageless", 2), "rows": 1}
    if loader.case.keyed:
        assert (loader.rows()[0][1], counts.duplicate) == expected["name"]
    assert len(loader.rows()) == (1 if loader.case.keyed else 4)


def test_empty_batch_is_no_error(loader: Loader) -> None:
    assert loader.run(TWO, frame()) == Counts(inserted=2)
    assert loader.rows() == [(1, "Ada"), (2, None)]


def test_first_run_without_rows_makes_an_empty_table(loader: Loader) -> None:
    loader.run()
    assert loader.rows() == []


@pytest.mark.parametrize("step", ["prepare", "load", "finish"])
def test_rolled_back_step_leaves_nothing_and_runs_again(loader: Loader, step: str) -> None:
    loader.run(TWO)
    before = loader.rows("SELECT * FROM raw.orders ORDER BY id")
    loader.runs += 1
    target, more, destination = loader.target(), frame((1, "Eve", 99), (3, "Cy", 99)), loader.case.destination
    for name in ("prepare", "load", "finish"):
        if name == step:  # dies at the end of this step, then does it again
            act(destination, name, loader.conn, target, more)
            loader.conn.rollback()
            assert (name == "finish" and not target.staged) or loader.rows("SELECT * FROM raw.orders ORDER BY id") == before
        act(destination, name, loader.conn, target, more)
        loader.conn.commit()
    names = {row[1] for row in loader.rows()}
    assert {"Eve", "Cy"} <= names


def act(destination: Destination, step: str, conn: psycopg.Connection, target: Target, rows: pl.DataFrame) -> None:
    """Do one step of a run."""
    if step == "prepare":
        destination.prepare(conn, target)
    elif step == "load":
        destination.load(conn, target, rows, 77)
    else:
        destination.finish(conn, target, None)


def test_new_column_is_added_and_rewrites_nothing(keyed: Loader) -> None:
    keyed.run(TWO)
    grown = [*COLUMNS, Column("note", pl.String(), True, "A remark.")]
    noted = TWO.with_columns(note=pl.when(id=1).then(pl.lit("urgent")))
    keyed.run(noted, columns=grown)
    assert keyed.rows("SELECT id, note, _batch FROM raw.orders ORDER BY id") == [(1, "urgent", 2), (2, None, 1)]


def test_comments_say_what_columns_mean(loader: Loader) -> None:
    loader.run(TWO)
    comments = loader.rows("SELECT col_description('raw.orders'::regclass, n) FROM generate_series(1, 2) n")
    assert comments == [("Number of the order.",), ("Who ordered.",)]
    assert "orders" in loader.rows("SELECT obj_description('raw.orders'::regclass)")[0][0]


def test_discard_leaves_the_table_and_no_twin(loader: Loader) -> None:
    loader.run(TWO)
    loader.runs += 1
    target = loader.target()
    loader.case.destination.prepare(loader.conn, target)
    loader.case.destination.discard(loader.conn, target)
    loader.case.destination.discard(loader.conn, target)
    loader.conn.commit()
    assert loader.rows() == [(1, "Ada"), (2, None)]
    assert loader.rows("SELECT count(*) FROM pg_class WHERE relname LIKE 'orders__staging'") == [(0,)]


def test_table_of_another_team_is_named_and_not_touched(loader: Loader) -> None:
    loader.conn.execute("CREATE SCHEMA raw CREATE TABLE orders (id integer, name text)")
    loader.conn.commit()
    with pytest.raises(Misconfigured, match=r"not made by Millrace.*'id' should be bigint, the table has integer"):
        loader.run(TWO)
    loader.conn.rollback()
    assert loader.rows("SELECT count(*) FROM pg_attribute WHERE attrelid = 'raw.orders'::regclass AND attnum > 0") == [(2,)]


def test_every_difference_from_the_contract_is_named(loader: Loader) -> None:
    loader.run(TWO)
    other = [Column("id", pl.Int32(), False), Column("name", pl.Date(), True), COLUMNS[2], Column("must", pl.Boolean(), False)]
    with pytest.raises(Misconfigured, match=r"(?s)'id' should be integer.*'name' should be date.*'must' \(boolean\) is required"):
        loader.case.destination.prepare(loader.conn, loader.target(other))


def test_nul_in_a_text_is_bad_data(loader: Loader) -> None:
    with pytest.raises(BadData, match="NUL"):
        loader.run(frame((1, "a\0b", 1)))


def test_wrong_type_is_refused_before_it_is_written(loader: Loader) -> None:
    with pytest.raises(Misconfigured, match="'id' is Int32, promised Int64"):
        loader.run(TWO.with_columns(pl.col("id").cast(pl.Int32)))
