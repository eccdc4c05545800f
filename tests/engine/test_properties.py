"""However rows are split, doubled, or written late, the table is what a plain dict says (L2, L7)."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Generator
from dataclasses import dataclass

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.batch import Position
from tasks.contract import Contract
from tasks.engine.plain import run_plainly
from tasks.extract.source import Page, Request
from tasks.load.append import Append
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page, same, things

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
rows = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", None]), st.integers(-1, 3)), max_size=14)
splits = st.lists(st.integers(0, 14), max_size=4)


def cut(history: list[tuple[int, str | None, int]], at: list[int]) -> list[pl.DataFrame]:
    ends = [0, *sorted(at), len(history)]
    return [page(*history[start:end]) for start, end in itertools.pairwise(ends)]


@FEW
@given(rows, splits, st.integers(1, 6))
def test_any_split_into_pages_and_batches_gives_the_same_table(
    ask: Ask, history: list[tuple[int, str | None, int]], at: list[int], batch_rows: int
) -> None:
    name = f"split_{uuid.uuid4().hex[:12]}"
    report = run_plainly(things(Rows(cut(history, at)), Upsert(f"raw.{name}", key=("id",)), name, batch_rows=batch_rows))
    good = {row[0]: row for row in history if row[2] >= 0}
    assert ask(f"SELECT id, name, v FROM raw.{name} ORDER BY 1") == sorted(good.values())
    assert report.counts.landed == len(history)
    assert report.counts.quarantined == sum(row[2] < 0 for row in history)
    assert report.counts.balanced


@FEW
@given(rows, splits, st.integers(1, 6))
def test_append_keeps_every_copy_however_split(
    ask: Ask, history: list[tuple[int, str | None, int]], at: list[int], batch_rows: int
) -> None:
    name = f"bag_{uuid.uuid4().hex[:12]}"
    run_plainly(things(Rows(cut(history, at)), Append(f"raw.{name}"), name, batch_rows=batch_rows))
    kept = sorted((row for row in history if row[2] >= 0), key=repr)
    assert sorted(ask(f"SELECT id, name, v FROM raw.{name}"), key=repr) == kept


class Change(Contract):
    """A row of a table that another system changes."""

    id: int
    changed: int
    v: int


@dataclass(frozen=True)
class Growing:
    """A table that grows between reads, read from the cursor less a lag on, in order of `changed`."""

    table: dict[int, tuple[int, int]]
    lag: int
    incremental = True
    sparse = False

    def read(self, request: Request) -> Generator[Page, None, None]:
        """Pages of two rows; a place to resume is the number of rows given."""
        low = None if request.start.cursor is None else request.start.cursor - self.lag
        found = sorted((changed, key, v) for key, (changed, v) in self.table.items() if low is None or changed >= low)
        highest = request.start.cursor
        for start in range(0, len(found), 2):
            part = found[start : start + 2]
            highest = max(highest or 0, part[-1][0])
            frame = pl.DataFrame(
                [(key, changed, v) for changed, key, v in part], schema={"id": pl.Int64, "changed": pl.Int64, "v": pl.Int64}, orient="row"
            )
            yield Page(frame, Position(highest, {"given": start + 2}), "growing")

    def describe(self) -> str:
        return "a growing table"


steps = st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 9)), max_size=4), min_size=1, max_size=4)


@FEW
@given(steps)
def test_late_commits_within_the_lag_and_equal_values_are_never_lost(ask: Ask, history: list[list[tuple[int, int, int]]]) -> None:
    name, table, now = f"lag_{uuid.uuid4().hex[:12]}", dict[int, tuple[int, int]](), 10
    cursors: list[int] = []
    for step in history:
        for key, late, v in step:
            table[key] = (now - late, v)  # written now, dated up to three ticks ago
        source = Growing(dict(table), lag=3)
        run_plainly(Pipeline(name, source, Change, Upsert(f"raw.{name}", key=("id",)), same, batch_rows=2))
        assert ask(f"SELECT id, changed, v FROM raw.{name} ORDER BY 1") == [(key, *table[key]) for key in sorted(table)]
        stored = ask("SELECT position -> 'cursor' FROM ledger.checkpoint WHERE pipeline = %s", name)[0][0]
        cursors.append(stored or 0)
        now += 1
    assert cursors == sorted(cursors)
