"""What a user sees when input, database or disk misbehave; nothing is lost, nothing doubled, and the next run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from blocks.warehouse import Warehouse
from tasks.batch import Counts
from tasks.contract import Contract, Field
from tasks.engine.plain import run_plainly
from tasks.engine.session import Parameters
from tasks.engine.trying import try_run
from tasks.errors import BadData, MillraceError, Misconfigured, Transient
from tasks.load.append import Append
from tasks.load.destination import Target
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page, things

ROOT = Path(__file__).parents[2]


def reasons(ask: Ask, name: str) -> list[tuple[Any, ...]]:
    query = """SELECT raw ->> 'id', e ->> 'column', e ->> 'rule', e ->> 'value' FROM ledger.quarantine, jsonb_array_elements(errors) e
               WHERE pipeline = %s ORDER BY row"""
    return ask(query, name)


def test_missing_required_column_names_it_and_what_was_there(made: Callable[..., Pipeline]) -> None:
    with pytest.raises(BadData, match=r"has no column 'v', which Thing promises; it has: id, name.*nothing of this batch was loaded"):
        run_plainly(made(page((1, "a", 1)).drop("v")))


def test_column_that_comes_back_is_read_again_from_the_source(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    with pytest.raises(BadData):
        run_plainly(made(page((1, "a", 1)).drop("v")))
    assert run_plainly(made(page((1, "a", 1)))).counts.inserted == 1
    assert ask("SELECT state, landed FROM ledger.run WHERE pipeline = %s", name) == [("completed", 1)]


def test_wrong_type_in_one_row_rejects_that_row(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    text = pl.DataFrame({"id": ["1", "2"], "name": ["a", "b"], "v": ["7", "seven"]})
    assert run_plainly(made(text)).counts.inserted == 1
    assert reasons(ask, name) == [("2", "v", "type Int64", "seven")]


def test_null_key_is_quarantined(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    counts = run_plainly(made(page((None, "a", 1), (2, "b", 2)))).counts
    assert (counts.inserted, counts.quarantined) == (1, 1)
    assert reasons(ask, name) == [(None, "id", "not_nullable", None)]


def test_duplicate_key_keeps_the_last_and_counts_the_other(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    counts = run_plainly(made(page((1, "a", 1), (1, "b", 2)))).counts
    assert (counts.inserted, counts.duplicate) == (1, 1)
    assert ask(f"SELECT name FROM raw.{name}") == [("b",)]


def test_empty_source_makes_an_empty_table(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    assert run_plainly(made()).counts == Counts()
    assert ask(f"SELECT count(*) FROM raw.{name}") == [(0,)]


class Cut(Upsert):
    """Loses its connection while loading, the first time."""

    def load(self, conn: psycopg.Connection, target: Target, rows: pl.DataFrame, batch: int) -> Counts:
        counts = super().load(conn, target, rows, batch)
        if batch not in CUT:
            CUT.add(batch)
            with psycopg.connect(os.environ["MILLRACE_WAREHOUSE_URL"], autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        return counts


CUT: set[int] = set()


def test_dropped_connection_during_load_is_retried(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    pages = page((1, "a", 1), (2, "b", -1)), page((3, "c", 3))
    counts = run_plainly(made(*pages, load=Cut(f"raw.{name}", key=("id",)), batch_rows=2)).counts
    assert (counts.landed, counts.inserted, counts.quarantined) == (3, 2, 1)
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (3,)]
    assert ask("SELECT seen FROM ledger.quarantine WHERE pipeline = %s", name) == [(1,)]


CUT_AT_THE_SECOND = """
CREATE SEQUENCE "{0}_cut";
CREATE FUNCTION "{0}_cut"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.pipeline = '{0}' AND nextval('"{0}_cut"') = 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "{0}_cut" BEFORE INSERT ON ledger.batch FOR EACH ROW EXECUTE FUNCTION "{0}_cut"()
"""
"""Ends the connection that registers a pipeline's second batch, once: a sequence does not go back."""


def test_dropped_connection_while_landing_loses_no_row(made: Callable[..., Pipeline], name: str, ask: Ask, shared: Warehouse) -> None:
    with shared.connect(autocommit=True) as conn:
        conn.execute(CUT_AT_THE_SECOND.format(name).encode())
    reading: list[int] = []
    source = Rows([page((1, "a", 1)), page((2, "b", 2)), page((3, "c", 3))], before=reading.append)
    counts = run_plainly(made(source=source, load=Append(f"raw.{name}"), batch_rows=1)).counts
    with shared.connect(autocommit=True) as conn:
        conn.execute(f'DROP FUNCTION "{name}_cut" CASCADE'.encode())
    assert (counts.landed, counts.inserted) == (3, 3)
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (2,), (3,)]
    assert reading == [0, 1, 2]


class CutAtFirst(Upsert):
    """Loses its connection while its table is made ready, the first time."""

    def prepare(self, conn: psycopg.Connection, target: Target) -> None:
        super().prepare(conn, target)
        if self.table not in CUT_TABLES:
            CUT_TABLES.add(self.table)
            with psycopg.connect(os.environ["MILLRACE_WAREHOUSE_URL"], autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))


CUT_TABLES: set[str] = set()


def test_dropped_connection_while_a_run_opens_is_retried(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    assert run_plainly(made(page((1, "a", 1)), load=CutAtFirst(f"raw.{name}", key=("id",)))).counts.inserted == 1
    assert ask("SELECT state, attempts FROM ledger.run WHERE pipeline = %s", name) == [("completed", 1)]


@pytest.mark.parametrize(("error", "calls"), [(Transient, 5), (BadData, 1), (Misconfigured, 1)])
def test_only_what_may_pass_is_tried_again(made: Callable[..., Pipeline], error: type[MillraceError], calls: int) -> None:
    tried: list[int] = []

    def fail(number: int) -> None:
        tried.append(number)
        raise error("the source is ill", do="wait")

    with pytest.raises(error, match="the source is ill"):
        run_plainly(made(source=Rows([page((1, "a", 1))], before=fail)))
    assert len(tried) == calls


def test_failed_full_refresh_does_not_count_objects_as_loaded(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    source = Rows([page((1, "a", 1)), page((2, "b", 2))], as_items=True)
    spec = made(source=source, batch_rows=1)

    def breaks(frame: pl.LazyFrame) -> pl.LazyFrame:
        assert 2 not in frame.collect()["id"], "the second is bad"
        return frame

    with pytest.raises(BadData):
        run_plainly(replace(spec, transform=breaks), Parameters(full_refresh=True))
    assert run_plainly(spec).counts.inserted == 2


def test_refused_swap_is_read_anew_by_the_next_run(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    load, whole = Replace(f"raw.{name}", key=("id",)), page((1, "a", 1), (2, "b", 2), (3, "c", 3))
    run_plainly(made(whole, load=load))
    for few in (page(), page((1, "a", 1))):
        with pytest.raises(BadData, match=r"would shrink from 3 to \d rows.*left as it was"):
            run_plainly(made(few, load=load))
        assert ask(f"SELECT count(*) FROM raw.{name}") == [(3,)]
    assert run_plainly(made(whole, load=load)).counts.unchanged == 3


class Strict(Contract):
    """A rule that stops."""

    id: int
    name: str = Field(nullable=True)
    v: int = Field(ge=0, severity="stop")


def test_rule_that_stops_loads_nothing_and_a_corrected_source_passes(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    with pytest.raises(BadData, match=r"1 of 1 rows break a rule that stops the run: column 'v' breaks greater_than_or_equal_to\(0\)"):
        run_plainly(made(page((1, "a", 1)), page((2, "b", -2)), contract=Strict, batch_rows=1))
    assert ask(f"SELECT count(*) FROM raw.{name}") == [(0,)]
    assert run_plainly(made(page((1, "a", 1)), page((2, "b", 2)), contract=Strict, batch_rows=1)).counts.inserted == 2


def test_mended_transform_loads_what_had_landed(made: Callable[..., Pipeline], name: str) -> None:
    pages = page((1, "a", 1)), page((2, "b", 2))
    with pytest.raises(BadData):
        run_plainly(made(*pages, batch_rows=1, version="broken", transform=lambda frame: frame.select("nothing")))
    reading: list[int] = []
    mended = made(source=Rows(pages, before=reading.append), batch_rows=1, version="mended")
    assert run_plainly(mended).counts.inserted == 2
    assert 0 not in reading


def test_older_batch_that_failed_never_overwrites_a_newer_one(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    def breaks(frame: pl.LazyFrame) -> pl.LazyFrame:
        time.sleep(0.2 if "old" in frame.collect()["name"] else 0)
        assert "old" not in frame.collect()["name"], "not today"
        return frame

    pages = page((1, "old", 1)), page((1, "new", 2))
    with pytest.raises(BadData, match="not today"):
        run_plainly(made(*pages, batch_rows=1, transform=breaks, version="broken"))
    run_plainly(made(*pages, batch_rows=1, version="mended"))
    assert ask(f"SELECT name FROM raw.{name}") == [("new",)]


def test_append_refuses_a_sample_that_the_next_run_would_double(made: Callable[..., Pipeline], name: str) -> None:
    spec = made(page((1, "a", 1), (2, "b", 2)), load=Append(f"raw.{name}"))
    with pytest.raises(Misconfigured, match="limit would load rows that the next run loads again"):
        run_plainly(spec, Parameters(limit=1))
    assert try_run(spec, Parameters(limit=1)).counts.landed == 1


def test_numbers_keep_their_value_next_to_pages_of_another_type(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    large, small = page((2**53 + 1, "a", 1)), page((1, "b", 2)).with_columns(pl.col("id").cast(pl.Float64))
    run_plainly(made(large, small, batch_rows=100))
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (2**53 + 1,)]


FULL_DISK = """
import resource, signal, sys
from tests.engine.memory import Rows, page, things
from tasks.engine.plain import run_plainly
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
wide = page((2, "b", 2)).with_columns(name=__import__("polars").lit("".join(map(chr, range(256, 40_000)))))
run_plainly(things(Rows([page((1, "a", 1)), wide]), __import__("tasks").Upsert(f"raw.{sys.argv[1]}", key=("id",)), sys.argv[1], batch_rows=1))
"""


def test_full_disk_is_named_and_the_next_run_goes_on(made: Callable[..., Pipeline], name: str, ask: Ask, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "The disk that holds the landing is full" in ended.stderr
    assert [path.name for path in (tmp_path / "state" / "landing").rglob("*.p*")] == ["000000-1.parquet"]
    run_plainly(made(page((1, "a", 1)), page((2, "b", 2)), batch_rows=1))
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (2,)]


def test_secret_of_the_warehouse_is_in_no_row_of_the_ledger(made: Callable[..., Pipeline], name: str, ask: Ask, shared: Warehouse) -> None:
    with pytest.raises(BadData):
        run_plainly(made(page((1, "a", 1)), transform=lambda frame: 1 / 0))
    told = ask("SELECT row_to_json(r)::text FROM ledger.run r WHERE pipeline = %s", name)
    assert shared.dsn.get_secret_value().split(":")[2].split("@")[0] not in str(told)


def test_lost_batches_in_flight_are_bounded(made: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_AHEAD", "1")
    monkeypatch.setenv("MILLRACE_LOADERS", "1")
    ahead: list[int] = []
    loaded: list[int] = []

    def slow(frame: pl.LazyFrame) -> pl.LazyFrame:
        time.sleep(0.05)
        loaded.append(1)
        return frame

    source = Rows([page((number, "a", 1)) for number in range(8)], before=lambda number: ahead.append(number - len(loaded)))
    run_plainly(made(source=source, batch_rows=1, transform=slow))
    assert max(ahead) <= 3


def test_record_that_lacks_a_known_field_is_quarantined_where_records_may_be_sparse(name: str, ask: Ask) -> None:
    run_plainly(things(Rows([page((1, "a", 1))], sparse=True), name=name))
    lacking = page((2, "b", 1)).drop("v")
    report = run_plainly(things(Rows([page((1, "a", 1)), lacking], sparse=True), name=name, batch_rows=1))
    assert (report.counts.unchanged, report.counts.quarantined) == (1, 1)
    assert report.alerts == []
