"""Which interrupted runs are taken up again, and which are read anew because the world has moved on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from blocks.warehouse import Warehouse
from tasks.engine.opening import open_session
from tasks.engine.plain import LOG, run_plainly
from tasks.engine.session import Parameters
from tasks.errors import BadData, Misconfigured
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page, things

WINDOW = Parameters(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Dated(Rows):
    """Rows that can be asked for by a window."""

    since: str = "v"


@pytest.fixture
def made(name: str, shared: Warehouse) -> Callable[..., Pipeline]:
    def make(*pages: pl.DataFrame, load: Any = None, **options: Any) -> Pipeline:
        return things(Dated(pages), load or Upsert(f"raw.{name}", key=("id",)), name, **{"batch_rows": 1} | options)

    return make


def broken(frame: pl.LazyFrame) -> pl.LazyFrame:
    assert 2 not in frame.collect()["id"], "not today"
    return frame


def test_window_that_waits_in_the_landing_never_overwrites_what_came_since(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    with pytest.raises(BadData, match="not today"):
        run_plainly(made(page((1, "a", 1)), page((2, "old", 1)), transform=broken, version="broken"), WINDOW)
    run_plainly(made(page((2, "new", 2))))
    run_plainly(made(page((1, "a", 1)), page((2, "new", 2))), WINDOW)
    assert ask(f"SELECT name FROM raw.{name} WHERE id = 2") == [("new",)]
    assert ask("SELECT state FROM ledger.run WHERE pipeline = %s ORDER BY id", name) == [("abandoned",), ("completed",), ("completed",)]


def test_refresh_that_other_code_began_is_begun_anew(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    load = Replace(f"raw.{name}", key=("id",))
    pages = page((1, "a", 1)), page((2, "b", 2))
    with pytest.raises(BadData, match="not today"):
        run_plainly(made(*pages, load=load, transform=broken, version="broken"))

    def renamed(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.with_columns(name=pl.lit("mended"))

    run_plainly(made(*pages, load=load, transform=renamed, version="mended"))
    assert ask(f"SELECT DISTINCT name FROM raw.{name}") == [("mended",)]


def test_refresh_that_lost_its_lock_does_not_swap_over_a_window(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    stale = open_session(made(page((1, "a", 1))), Parameters(full_refresh=True), log=LOG)
    stale.lock.release()
    run_plainly(made(page((2, "b", 2))), WINDOW)
    assert ask("SELECT kind, state FROM ledger.run WHERE pipeline = %s ORDER BY id", name) == [
        ("full_refresh", "crashed"),
        ("interval", "completed"),
    ]


def test_windows_that_close_at_the_same_moment_all_complete(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    together = threading.Barrier(3, timeout=30)

    def meet(frame: pl.LazyFrame) -> pl.LazyFrame:
        together.wait()
        return frame

    def run(number: int) -> None:
        window = Parameters(datetime(2020, number, 1, tzinfo=UTC), datetime(2020, number + 1, 1, tzinfo=UTC))
        run_plainly(made(page((number, "a", 1)), transform=meet), window)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask("SELECT state, count(*) FROM ledger.run WHERE pipeline = %s GROUP BY 1", name) == [("completed", 3)]
    assert ask("SELECT version FROM ledger.source_schema WHERE pipeline = %s", name) == [(1,)]


def test_limit_below_one_row_is_refused(made: Callable[..., Pipeline]) -> None:
    with pytest.raises(Misconfigured, match="limit is less than one row"):
        run_plainly(made(page((1, "a", 1))), Parameters(limit=0))
