"""Laws of the cursor and of columns made from JSON, for any input."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.batch import Interval, Position
from tasks.errors import BadData, Misconfigured
from tasks.extract.records import as_text, frame, stack
from tasks.extract.since import Since, decode, duration, encode
from tasks.extract.source import Request

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
START = datetime(2024, 1, 1, tzinfo=UTC)
minutes = st.lists(st.integers(0, 30) | st.none(), min_size=1, max_size=40)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé\u2028"\\0', max_size=5)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)


def table(times: list[int | None]) -> pl.DataFrame:
    at = [None if each is None else START + timedelta(minutes=each) for each in times]
    return pl.DataFrame({"id": range(len(times)), "at": pl.Series(at, dtype=pl.Datetime("us", "UTC"))})


@patient
@given(minutes, minutes, st.integers(0, 20))
def test_nothing_that_is_late_by_less_than_the_lag_is_lost(first: list[int | None], late: list[int | None], lag: int) -> None:
    since = Since("at", lag=f"{lag}m")
    cursor = since.highest(table(first), None)
    bounds = since.bounds(Request("p", Position(cursor)))
    kept = since.within(table(late), bounds)["id"].to_list()
    greatest = max((each for each in first if each is not None), default=-100)
    assert kept == [i for i, each in enumerate(late) if each is None or each >= greatest - lag]


@patient
@given(minutes, st.integers(1, 9))
def test_any_split_into_pages_gives_the_same_cursor(times: list[int | None], size: int) -> None:
    since, cursor = Since("at"), None
    for at in range(0, len(times), size):
        after = since.highest(table(times[at : at + size]), cursor)
        assert cursor is None or (after is not None and decode(after) >= decode(cursor))  # type: ignore[operator]  # both are times
        cursor = after
    assert cursor == since.highest(table(times), None)


@patient
@given(minutes, st.lists(st.integers(0, 31), min_size=2, max_size=5, unique=True))
def test_neighbouring_windows_share_no_row_and_miss_none(times: list[int | None], cuts: list[int]) -> None:
    since, edges = Since("at"), [START + timedelta(minutes=each) for each in sorted(cuts)]
    found = [i for low, high in pairwise(edges) for i in _window(since, times, Interval(low, high))]
    assert sorted(found) == _window(since, times, Interval(edges[0], edges[-1]))


def _window(since: Since, times: list[int | None], interval: Interval) -> list[int]:
    return since.within(table(times), since.bounds(Request("p", interval=interval)))["id"].to_list()


@patient
@given(st.datetimes() | st.dates() | st.integers() | st.text("aZé-:5", max_size=9))
def test_a_cursor_survives_the_ledger(value: Any) -> None:
    stored = json.loads(json.dumps(encode(value)))
    back = value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
    assert decode(stored) == back


@patient
@given(st.lists(st.dictionaries(st.sampled_from("xyz"), values), min_size=1, max_size=5))
def test_no_json_value_is_lost(records: list[dict[str, Any]]) -> None:
    made = frame(records)
    assert made.height == len(records)
    for name in set().union(*records):
        for record, value in zip(records, made[name].to_list(), strict=True):
            assert _same(record.get(name), value), (made.schema, record)


def _same(given: Any, made: Any) -> bool:
    """Equal; or the text of it, where types clashed; or an object or list of such."""
    if given is None or isinstance(made, str):
        return made is None or made == as_text(given) or (given is None and made is None)
    if isinstance(given, dict) and isinstance(made, dict):
        return all(_same(given.get(key), made.get(key)) for key in made) and set(given) <= set(made)
    if isinstance(given, list) and isinstance(made, list):
        return len(given) == len(made) and all(map(_same, given, made))
    return given == made


@patient
@given(st.lists(st.lists(st.dictionaries(st.sampled_from("xy"), values), min_size=1, max_size=3), min_size=1, max_size=3))
def test_pages_of_any_types_stack(pages: list[list[dict[str, Any]]]) -> None:
    assert stack(frame(page) for page in pages).height == sum(map(len, pages))


def test_text_times_of_several_spellings_are_one_time_line() -> None:
    rows = pl.DataFrame({"at": ["2024-01-02T00:00:00Z", "2024-01-02T03:00:00+02:00", "2024-01-01 23:00:00", "nonsense", None]})
    assert Since("at").highest(rows, None) == "2024-01-02T01:00:00.000000Z"


def test_epochs_are_times() -> None:
    since = Since("at", format="epoch", lag="10s")
    assert since.highest(pl.DataFrame({"at": [1704067200]}), None) == "2024-01-01T00:00:00.000000Z"
    assert since.sent(since.lagged("2024-01-01T00:00:00.000000Z")) == 1704067190


def test_numbers_take_a_lag_in_numbers() -> None:
    assert Since("id", lag=3).lagged(10) == 7
    with pytest.raises(Misconfigured, match="lag"):
        Since("id", lag="5m").lagged(10)


def test_nulls_can_stop_the_run() -> None:
    with pytest.raises(BadData, match="has no `at`") as caught:
        Since("at", nulls="stop").highest(table([1, None]), None)
    assert caught.value.row == 1


def test_a_cursor_that_changes_its_kind_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="cannot be compared"):
        Since("at").highest(pl.DataFrame({"at": [5]}), "2024-01-01T00:00:00.000000Z")


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "-5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        duration(text)
