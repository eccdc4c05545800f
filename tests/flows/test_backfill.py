"""`backfill` in one process: its chunks in the ledger, what a second launch does, and the cursor that it leaves alone."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from blocks.warehouse import Warehouse
from flows import pipeline
from flows.operate.backfill import backfill, backfill_chunk, load_pipeline
from tasks.batch import Interval
from tasks.contract import Contract, Utc
from tasks.errors import BadData, Misconfigured
from tasks.extract.source import Page, Request
from tasks.ledger import backfills
from tasks.ledger.schema import ensure_ledger
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert
from tests.engine.memory import Rows

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + 3 * DAY
WINDOW = {"pipeline": "tiny_days", "start_date": START, "end_date": END}
ROWS = pl.DataFrame({"id": range(8), "at": [START + number * timedelta(hours=12) for number in range(8)]})
"""Two rows a day for four days, of which the last lies behind the window."""

pytestmark = pytest.mark.usefixtures("prefect_api")


class Dated(Contract):
    """A row of a day."""

    id: int
    at: Utc


@dataclass(frozen=True)
class Days(Rows):
    """Rows in memory that a window selects by `at`; the days in `ill` cannot be read. Notes the windows that it was asked for."""

    since: str = "at"
    ill: set[datetime] = field(default_factory=set)
    asked: list[datetime | None] = field(default_factory=list)

    def read(self, request: Request) -> Generator[Page, None, None]:
        start, end = request.interval.start, request.interval.end
        self.asked.append(start)
        if start in self.ill:
            raise BadData("the day cannot be read", do="wait")
        for page in super().read(request):
            rows = page.rows if start is None else page.rows.filter(pl.col("at").is_between(start, end, closed="left"))
            yield Page(rows, page.position, page.origin)


@pytest.fixture
def days(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Days:
    """The source of a pipeline `tiny_days`, which stands in `flows` as a file would."""
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())
    source = Days([ROWS])
    shelve(monkeypatch, source, Upsert("raw.tiny_days", key=("id",)))
    return source


def shelve(monkeypatch: pytest.MonkeyPatch, source: Rows, load: Any) -> None:
    @pipeline(extract=source, contract=Dated, load=load)
    def tiny_days(frame: pl.LazyFrame) -> pl.LazyFrame:
        """Days."""
        return frame

    module = ModuleType("flows.tiny_days")
    vars(module)["tiny_days"] = tiny_days
    monkeypatch.setitem(sys.modules, "flows.tiny_days", module)


def asked(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def chunks(warehouse: Warehouse) -> list[tuple[str, int]]:
    return [(state, attempts) for state, attempts in asked(warehouse, "SELECT state, attempts FROM ledger.chunk ORDER BY start_at")]


def test_backfill_loads_each_chunk_and_leaves_the_cursor_alone(days: Days, warehouse: Warehouse) -> None:
    load_pipeline("tiny_days")()
    before = asked(warehouse, "SELECT * FROM ledger.checkpoint")
    assert backfill(**WINDOW, return_state=True).is_completed()
    assert asked(warehouse, "SELECT * FROM ledger.checkpoint") == before
    assert chunks(warehouse) == [("done", 1)] * 3
    assert asked(warehouse, "SELECT kind, landed, unchanged FROM ledger.run ORDER BY id")[1:] == [("interval", 2, 2)] * 3


def test_failed_chunk_stops_no_other_and_a_second_launch_does_only_it(days: Days, warehouse: Warehouse) -> None:
    days.ill.add(START + DAY)
    failed = backfill(**WINDOW, return_state=True)
    assert failed.is_failed()
    with pytest.raises(BadData, match=r"1 of 3 chunks are not done, the first from 2024-01-02.*launch the same backfill again"):
        failed.result()
    assert chunks(warehouse) == [("done", 1), ("failed", 1), ("done", 1)]
    assert "the day cannot be read" in asked(warehouse, "SELECT error FROM ledger.chunk WHERE state = 'failed'")[0][0]
    days.ill.clear()
    days.asked.clear()
    assert backfill(**WINDOW, return_state=True).is_completed()
    assert days.asked == [START + DAY]
    assert chunks(warehouse) == [("done", 1), ("done", 2), ("done", 1)]
    assert asked(warehouse, "SELECT id FROM raw.tiny_days ORDER BY 1") == [(number,) for number in range(6)]
    assert asked(warehouse, "SELECT state FROM ledger.backfill") == [("completed",)]


def left_behind(warehouse: Warehouse) -> list[backfills.Chunk]:
    """The ledger as a launch leaves it that was killed in its second chunk."""
    ensure_ledger(warehouse)
    with warehouse.connect() as conn:
        parts = backfills.chunks(conn, backfills.open_backfill(conn, "tiny_days", Interval(START, END), DAY))
        backfills.begin_chunk(conn, parts[0], None)
        backfills.end_chunk(conn, parts[0], None, None)
        backfills.begin_chunk(conn, parts[1], None)
    return parts


def test_launch_after_a_kill_does_what_is_left(days: Days, warehouse: Warehouse) -> None:
    left_behind(warehouse)
    assert chunks(warehouse) == [("done", 1), ("running", 1), ("missing", 0)]
    assert backfill(**WINDOW, return_state=True).is_completed()
    assert days.asked == [START + DAY, START + 2 * DAY]
    assert chunks(warehouse) == [("done", 1), ("done", 2), ("done", 1)]


def test_chunk_that_another_launch_has_done_stays_done(days: Days, warehouse: Warehouse) -> None:
    done = left_behind(warehouse)[0]
    backfill_chunk("tiny_days", done.backfill, done.start, done.end)
    with warehouse.connect() as conn:
        backfills.end_chunk(conn, done, None, "the slower of two launches failed")
    assert days.asked == []
    assert chunks(warehouse)[0] == ("done", 1)


def test_cancelled_chunk_is_failed_and_the_rest_is_missing(days: Days, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(number: int) -> None:
        if days.asked[-1] == START + DAY:
            raise KeyboardInterrupt

    shelve(monkeypatch, Days([ROWS], asked=days.asked, before=cancelled), Upsert("raw.tiny_days", key=("id",)))
    with pytest.raises(KeyboardInterrupt):
        backfill(**WINDOW, return_state=True)
    assert chunks(warehouse) == [("done", 1), ("failed", 1), ("missing", 0)]
    assert asked(warehouse, "SELECT state FROM ledger.run ORDER BY id") == [("completed",), ("failed",)]


@pytest.mark.parametrize(("source", "load"), [(Rows([ROWS]), Upsert("raw.x", key=("id",))), (Days([ROWS]), Replace("raw.x"))])
def test_pipeline_that_has_no_windows_says_so_once(
    source: Rows, load: Any, days: Days, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelve(monkeypatch, source, load)
    with pytest.raises(Misconfigured, match="start_date"):
        backfill(**WINDOW)
    assert asked(warehouse, "SELECT to_regclass('ledger.chunk')") == [(None,)]


@pytest.mark.parametrize("wrong", [{"end_date": START}, {"chunk": timedelta(0)}, {"chunk": timedelta(seconds=1)}, {"pipeline": "no_such"}])
def test_window_that_makes_no_sense_is_refused(wrong: dict[str, Any], days: Days) -> None:
    with pytest.raises(Misconfigured):
        backfill(**WINDOW | wrong)


def test_chunks_cover_the_window_once() -> None:
    parts = backfills.cut(Interval(START, START + timedelta(hours=60)), DAY)
    assert [part.start for part in parts] == [START, START + DAY, START + 2 * DAY]
    assert [part.end for part in parts] == [START + DAY, START + 2 * DAY, START + timedelta(hours=60)]
