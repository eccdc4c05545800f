"""Casts lose nothing: a value arrives as it was, or its row is named."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import Misconfigured
from tasks.refine.cast import cast

LOST = None
UTC_TIME = pl.Datetime("us", "UTC")
CASES: list[tuple[Any, pl.DataType, pl.DataType, Any]] = [
    ("17", pl.String(), pl.Int64(), 17),
    (" 17 ", pl.String(), pl.Int64(), 17),
    ("517.0", pl.String(), pl.Int64(), 517),
    ("1.5", pl.String(), pl.Int64(), LOST),
    ("9007199254740993.0", pl.String(), pl.Int64(), 9007199254740993),
    ("1.0000000000000000001", pl.String(), pl.Int64(), LOST),
    ("300", pl.String(), pl.Int8(), LOST),
    ("", pl.String(), pl.Int64(), LOST),
    ("1.25", pl.String(), pl.Float64(), 1.25),
    ("1.20", pl.String(), pl.Decimal(5, 2), Decimal("1.20")),
    ("1.200", pl.String(), pl.Decimal(5, 2), Decimal("1.20")),
    ("1.239", pl.String(), pl.Decimal(5, 2), LOST),
    ("1.0000000001", pl.String(), pl.Decimal(5, 2), LOST),
    ("123456", pl.String(), pl.Decimal(5, 2), LOST),
    ("Yes", pl.String(), pl.Boolean(), True),
    ("0", pl.String(), pl.Boolean(), False),
    ("maybe", pl.String(), pl.Boolean(), LOST),
    ("2013-01-01", pl.String(), pl.Date(), date(2013, 1, 1)),
    ("01.02.2013", pl.String(), pl.Date(), LOST),
    ("2013-02-30", pl.String(), pl.Date(), LOST),
    ("12:30:00", pl.String(), pl.Time(), time(12, 30)),
    ("2013-01-01T05:00:00Z", pl.String(), UTC_TIME, datetime(2013, 1, 1, 5, tzinfo=UTC)),
    ("2013-01-01 05:00", pl.String(), UTC_TIME, datetime(2013, 1, 1, 5, tzinfo=UTC)),
    ("2013-01-01", pl.String(), UTC_TIME, datetime(2013, 1, 1, tzinfo=UTC)),
    ("2013-01-01T05:00:00+02:00", pl.String(), UTC_TIME, datetime(2013, 1, 1, 3, tzinfo=UTC)),
    ("2013-01-01 05:00:00.25-0500", pl.String(), UTC_TIME, datetime(2013, 1, 1, 10, 0, 0, 250_000, tzinfo=UTC)),
    ("yesterday", pl.String(), UTC_TIME, LOST),
    ("b", pl.String(), pl.Enum(["a", "b"]), "b"),
    ("z", pl.String(), pl.Enum(["a", "b"]), LOST),
    (7, pl.Int64(), pl.Int32(), 7),
    (2**40, pl.Int64(), pl.Int32(), LOST),
    (-1, pl.Int64(), pl.UInt8(), LOST),
    (2**53, pl.Int64(), pl.Float64(), float(2**53)),
    (2**53 + 1, pl.Int64(), pl.Float64(), LOST),
    (1.0, pl.Float64(), pl.Int64(), 1),
    (1.5, pl.Float64(), pl.Int64(), LOST),
    (float("nan"), pl.Float64(), pl.Int64(), LOST),
    (1e300, pl.Float64(), pl.Float32(), LOST),
    (0.1, pl.Float64(), pl.Decimal(10, 2), Decimal("0.10")),
    (0.125, pl.Float64(), pl.Decimal(10, 2), LOST),
    (Decimal("1.50"), pl.Decimal(10, 2), pl.Decimal(10, 1), Decimal("1.5")),
    (Decimal("1.55"), pl.Decimal(10, 2), pl.Decimal(10, 1), LOST),
    (1, pl.Int64(), pl.Boolean(), True),
    (2, pl.Int64(), pl.Boolean(), LOST),
    (datetime(2013, 1, 1, 5), pl.Datetime("us"), pl.Date(), LOST),
    (datetime(2013, 1, 1), pl.Datetime("us"), pl.Date(), date(2013, 1, 1)),
    (date(2013, 1, 1), pl.Date(), UTC_TIME, datetime(2013, 1, 1, tzinfo=UTC)),
    ([1, 300], pl.List(pl.Int64()), pl.List(pl.Int8()), LOST),
    ([1, 3], pl.List(pl.Int64()), pl.List(pl.Int8()), [1, 3]),
    ({"a": 1}, pl.Struct({"a": pl.Int64()}), pl.String(), '{"a":1}'),
    (b"ab", pl.Binary(), pl.String(), "ab"),
    (b"\xff", pl.Binary(), pl.String(), LOST),
    ("a", pl.Categorical(), pl.String(), "a"),
    ("7", pl.Categorical(), pl.Int64(), 7),
]


@pytest.mark.parametrize(("value", "found", "wanted", "expected"), CASES, ids=[f"{c[0]!r} {c[1]} to {c[2]}" for c in CASES])
def test_value_arrives_as_it_was_or_is_lost(value: Any, found: pl.DataType, wanted: pl.DataType, expected: Any) -> None:
    after = cast(pl.Series("c", [value, None], dtype=found), wanted)
    if expected is LOST:
        assert after.null_count() == 2
    else:
        assert after[0].to_list() == expected if isinstance(expected, list) else after[0] == expected
        assert after.dtype == wanted
        assert after[1] is None


@pytest.mark.parametrize(
    ("found", "wanted"), [(pl.Int64, UTC_TIME), (pl.Float64, pl.Boolean), (pl.String, pl.Struct({"a": pl.Int64})), (pl.Boolean, pl.Date)]
)
def test_cast_that_would_have_to_guess_is_refused(found: Any, wanted: Any) -> None:
    with pytest.raises(Misconfigured, match=r"Column 'c' comes as .* there is no cast between them that loses nothing"):
        cast(pl.Series("c", [None], dtype=found), wanted)


NUMBERS = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt32(), pl.UInt64(), pl.Float64(), pl.Decimal(20, 3))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=5), st.sampled_from(NUMBERS))
def test_whole_numbers_survive_any_cast_or_are_lost(values: list[int | None], wanted: pl.DataType) -> None:
    after = cast(pl.Series("c", values, dtype=pl.Int64), wanted)
    assert all(new is None or new == old for old, new in zip(values, after.to_list(), strict=True))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats() | st.none(), max_size=5), st.sampled_from(NUMBERS))
def test_floats_survive_any_cast_or_are_lost(values: list[float | None], wanted: pl.DataType) -> None:
    after = cast(pl.Series("c", values, dtype=pl.Float64), wanted).to_list()
    assert all(new is None or new != new or float(new) == old for old, new in zip(values, after, strict=True))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9), max_size=5))
def test_decimal_text_survives_or_is_lost(values: list[Decimal]) -> None:
    after = cast(pl.Series("c", [format(value, "f") for value in values], dtype=pl.String), pl.Decimal(14, 3)).to_list()
    assert all(new == old if old == round(old, 3) else new is None for old, new in zip(values, after, strict=True))
