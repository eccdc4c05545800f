"""The content hash: values that must never change, and what must and must not move it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.load.columns import canonical
from tasks.load.destination import Column
from tasks.load.hashing import content_hash

GOLDEN: dict[str, tuple[Any, Any]] = {
    "zero": (pl.Int64, 0),
    "integer": (pl.Int64, -7),
    "short": (pl.Int16, -7),
    "unsigned": (pl.UInt64, 2**64 - 1),
    "float": (pl.Float64, 1.5),
    "single": (pl.Float32, 1.5),
    "nan": (pl.Float64, float("nan")),
    "decimal": (pl.Decimal(15, 2), Decimal("-12.30")),
    "true": (pl.Boolean, True),
    "false": (pl.Boolean, False),
    "text": (pl.String, "Zürich 🚲"),
    "empty": (pl.String, ""),
    "long text": (pl.String, "0123456789" * 50),
    "enum": (pl.Enum(["a", "b"]), "b"),
    "bytes": (pl.Binary, b"\x00\xff"),
    "date": (pl.Date, date(1969, 7, 20)),
    "instant": (pl.Datetime("us", "UTC"), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    "milliseconds": (pl.Datetime("ms"), datetime(2026, 1, 2, 3, 4, 5)),
    "time": (pl.Time, time(1, 2, 3, 4)),
    "duration": (pl.Duration("us"), timedelta(days=-1, microseconds=1)),
    "list": (pl.List(pl.Int64), [1, None, 3]),
    "struct": (pl.Struct({"x": pl.Int64, "y": pl.String}), {"x": 1, "y": 'say "hi"'}),
    "null": (pl.Int64, None),
}
"""Name, type and value; the column is named as the case."""

EXPECTED: dict[str, int] = {
    "zero": 5435496918817105717,
    "integer": -1112885795901025786,
    "short": -631143245158662036,
    "unsigned": -7451689269580206015,
    "float": 1905143992656918425,
    "single": 8723006978224233248,
    "nan": 1506446798543405598,
    "decimal": -8802385929062929826,
    "true": -816759785246108776,
    "false": 3959250019474245514,
    "text": -6379288927597479977,
    "empty": -861528923920238316,
    "long text": 7670280414629562754,
    "enum": -6826838261536569285,
    "bytes": -8920407142852937078,
    "date": -1748285435607629132,
    "instant": 849871151246253001,
    "milliseconds": -7740094000816961780,
    "time": 4189144790644772793,
    "duration": -5780221780196161446,
    "list": -7481616678323911572,
    "struct": 3871479182129215618,
    "null": -2152535657050944081,
}


def hashed(**columns: pl.Series) -> list[int]:
    frame = pl.DataFrame(columns)
    frame = frame.select(canonical(name, dtype) for name, dtype in frame.schema.items())
    return content_hash(frame, [Column(name, dtype, True) for name, dtype in frame.schema.items()]).to_list()


@pytest.mark.parametrize("case", GOLDEN)
def test_hash_is_the_same_for_ever(case: str) -> None:
    dtype, value = GOLDEN[case]
    assert hashed(**{case: pl.Series([value], dtype=dtype)}) == [EXPECTED[case]]


def test_order_of_columns_does_not_matter() -> None:
    a, b = pl.Series([1, 2]), pl.Series(["x", None])
    assert hashed(a=a, b=b) == hashed(b=b, a=a)


def test_new_column_of_nulls_changes_nothing() -> None:
    a, new = pl.Series([1, 2]), pl.Series([None, "x"])
    before, after = hashed(a=a), hashed(a=a, new=new)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_null_empty_and_zero_differ() -> None:
    assert len(set(hashed(a=pl.Series([None, "", "0", " "])))) == 4
    assert len(set(hashed(a=pl.Series([None, 0, 1])))) == 3


def test_equal_values_in_other_columns_differ() -> None:
    assert len(set(hashed(a=pl.Series([1, None, 1, 2]), b=pl.Series([None, 1, 2, 1])))) == 4


def test_same_change_in_two_columns_does_not_cancel_out() -> None:
    values = pl.Series(range(1000))
    assert len(set(hashed(a=values, b=values))) == 1000


def test_wider_integer_keeps_the_hash() -> None:
    assert hashed(a=pl.Series([-1, 5], dtype=pl.Int16)) == hashed(a=pl.Series([-1, 5], dtype=pl.Int64))


def test_one_zero_and_one_nan() -> None:
    values = hashed(a=pl.Series([0.0, -0.0, float("nan"), -float("nan")]))
    assert values[0] == values[1]
    assert values[2] == values[3]


def test_every_bit_moves() -> None:
    near = hashed(a=pl.Series(range(100_000)))
    assert len(set(near)) == 100_000
    ones = sum((value & (2**64 - 1)).bit_count() for value in near) / len(near)
    assert 31.9 < ones < 32.1


def test_no_rows_have_no_hashes() -> None:
    assert hashed(a=pl.Series([], dtype=pl.Int64)) == []
