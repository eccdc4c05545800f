"""JSON records as columns: types are kept where a column has one type, and become JSON text where types clash. No value is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

_WHOLE = 2**53
"""Whole numbers up to here survive as floats."""


def frame(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Records as a frame: one column per key that occurs, in order of appearance, null where a record lacks it."""
    names = dict.fromkeys(name for record in records for name in record)
    if not names:  # a frame without columns has no rows
        return pl.DataFrame({"value": [as_text(record) for record in records]}) if records else pl.DataFrame()
    columns = {name: column([record.get(name) for record in records]) for name in names}
    return pl.DataFrame({name: values.alias(name) for name, values in columns.items()})


def column(values: list[Any]) -> pl.Series:
    """Values of one key as a series: numbers, booleans, text, structs or lists; mixed types as text."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pl.Series(values, dtype=pl.Null)
    if kinds == {str}:
        return pl.Series(values, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    if kinds <= {int, float}:
        return _numbers(values, kinds)
    if kinds == {dict} and any(values):
        return _structs(values)
    if kinds == {list}:
        return _lists(values)
    return _text(values)


def stack(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Frames below each other, by column name; columns whose types clash become text, columns that some lack are null there."""
    parts = list(frames)
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    clashing = [name for name in names if _clash([part.schema[name] for part in parts if name in part.columns])]
    alike = [part.with_columns(_as_text(part, name) for name in clashing if name in part.columns) for part in parts]
    return pl.concat(alike, how="diagonal_relaxed")


def _numbers(values: list[Any], kinds: set[type]) -> pl.Series:
    whole = [value for value in values if type(value) is int]
    if kinds == {int} and min(whole) >= -(2**63) and max(whole) < 2**63:
        return pl.Series(values, dtype=pl.Int64)
    if float in kinds and (not whole or max(map(abs, whole)) <= _WHOLE):
        return pl.Series(values, dtype=pl.Float64, strict=False)
    return _text(values)


def _structs(values: list[Any]) -> pl.Series:
    """Objects as a struct; an object without any key is told from null by the struct's own nulls."""
    inner = frame([value or {} for value in values])
    missing = pl.Series([value is None for value in values], dtype=pl.Boolean)
    whole = inner.to_struct("struct")
    return pl.select(pl.when(~missing).then(whole)).to_series() if missing.any() else whole


def _lists(values: list[Any]) -> pl.Series:
    """Lists, by way of one flat column of all their items."""
    import pyarrow as pa

    flat = column([item for value in values if value for item in value])
    if flat.dtype == pl.Null:
        flat = flat.cast(pl.String)
    offsets, at = [], 0
    for value in values:
        offsets.append(None if value is None else at)
        at += len(value or ())
    lists = pa.LargeListArray.from_arrays(pa.array([*offsets, at], pa.int64()), flat.to_arrow())
    return pl.Series(pl.from_arrow(lists))


def _text(values: list[Any]) -> pl.Series:
    return pl.Series([None if value is None else as_text(value) for value in values], dtype=pl.String)


def as_text(value: object) -> str:
    """A value as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _clash(types: list[pl.DataType]) -> bool:
    """Whether columns of these types have no common type that keeps every value as it is."""
    distinct = {dtype for dtype in types if dtype != pl.Null}
    if len(distinct) < 2 or distinct <= {pl.Int64(), pl.Float64()}:
        return False
    if all(isinstance(dtype, pl.Struct) for dtype in distinct):
        fields: dict[str, list[pl.DataType]] = {}
        for dtype in distinct:
            for field in dtype.fields:  # type: ignore[attr-defined]  # all of them are structs
                fields.setdefault(field.name, []).append(field.dtype)
        return any(_clash(each) for each in fields.values())
    if all(isinstance(dtype, pl.List) for dtype in distinct):
        return _clash([dtype.inner for dtype in distinct])  # type: ignore[attr-defined]  # all of them are lists
    return True


def _as_text(part: pl.DataFrame, name: str) -> pl.Series:
    values = part.get_column(name)
    if values.dtype.is_nested():
        return _text(values.to_list()).alias(name)
    if values.dtype == pl.Boolean:
        return pl.select(pl.when(values).then(pl.lit("true")).when(~values).then(pl.lit("false"))).to_series().alias(name)
    return values.cast(pl.String)
