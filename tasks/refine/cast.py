"""Lossless casts from what a source gave to what a contract promises; what cannot be cast is named, row by row.

Pandera reports type errors without a row, so types are settled here first: a value that was there and is null after the cast
is a failure. Nothing is rounded, cut or guessed in silence: `1.5` is no integer, and a date is ISO 8601.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from tasks.errors import Misconfigured
from tasks.load.destination import Column

DATETIME_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
TRUE, FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]


def cast_columns(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Cast each of `columns` that `frame` has to its promised type.

    Returns the frame with those columns replaced, and for each column with failures a boolean series, true where a value was lost.
    Raises Misconfigured where no lossless cast between the two types exists.
    """
    done, failed = [], {}
    for column in columns:
        before = frame.get_column(column.name)
        after = cast(before, column.dtype)
        done.append(after.alias(column.name))
        if after.null_count() > before.null_count():
            failed[column.name] = before.is_not_null() & after.is_null()
    return frame.with_columns(done), failed


def cast(values: pl.Series, wanted: pl.DataType) -> pl.Series:
    """One column in its promised type; null where a value does not fit."""
    found = values.dtype
    if found == wanted:
        return values
    if found == pl.Null:
        return values.cast(wanted)
    if isinstance(found, pl.Categorical | pl.Enum):
        return cast(values.cast(pl.String), wanted)
    caster = _from_text(wanted) if found == pl.String else _from_typed(found, wanted)
    if caster is None:
        raise Misconfigured(
            f"Column {values.name!r} comes as {found} and the contract promises {wanted}: there is no cast between them that loses nothing",
            do=f"Convert {values.name!r} in the pipeline's transform, or promise {found} in the contract",
            setting=values.name,
        )
    return caster(values)


Caster = Callable[[pl.Series], pl.Series]


def _from_text(wanted: pl.DataType) -> Caster | None:
    if wanted.is_integer():
        return lambda text: _integers(text, wanted)
    if isinstance(wanted, pl.Decimal):
        return lambda text: _decimals(text.str.strip_chars(), wanted)
    if wanted.is_numeric():
        return lambda text: text.str.strip_chars().cast(wanted, strict=False)
    if wanted == pl.Boolean:
        return _booleans
    if isinstance(wanted, pl.Datetime):
        return lambda text: _moments(text, wanted)
    if wanted == pl.Date:
        return lambda text: text.str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    if wanted == pl.Time:
        return lambda text: text.str.strip_chars().str.to_time("%H:%M:%S%.f", strict=False)
    if wanted == pl.Binary:
        return lambda text: text.cast(pl.Binary)
    if isinstance(wanted, pl.Enum | pl.Categorical):
        return lambda text: text.cast(wanted, strict=False)
    return None


def _from_typed(found: pl.DataType, wanted: pl.DataType) -> Caster | None:
    if wanted == pl.String:
        if holds_bytes(found) and found.is_nested():
            return None
        if found == pl.Binary:
            return _text
        return json_text if found.is_nested() else (lambda values: values.cast(pl.String))
    if found.is_numeric() and wanted.is_numeric():
        exact = (found.is_integer() and wanted.is_integer()) or (wanted.is_float() and not found.is_integer())
        return (
            (lambda values: _finite(values, values.cast(wanted, strict=False)))
            if exact
            else (lambda values: _lossless(values, values.cast(wanted, strict=False)))
        )
    if found == pl.Boolean and wanted.is_numeric():
        return lambda values: values.cast(wanted)
    if found.is_integer() and wanted == pl.Boolean:
        return lambda values: values.set(~values.is_in([0, 1]), None).cast(pl.Boolean)
    if isinstance(found, pl.Datetime) and isinstance(wanted, pl.Datetime):
        return lambda values: _rezone(values, wanted)
    if isinstance(found, pl.Date) and isinstance(wanted, pl.Datetime):
        return lambda values: _rezone(values.cast(pl.Datetime("us")), wanted)
    if isinstance(found, pl.Datetime) and wanted == pl.Date:
        return lambda values: _lossless(values, values.dt.date())
    if found.is_nested() and wanted.is_nested():
        return lambda values: _same_items(values, values.cast(wanted, strict=False))
    return None


def _integers(text: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Integers from text; `517.0`, as spreadsheets write it, is the integer 517."""
    text = text.str.strip_chars()
    exact = text.cast(wanted, strict=False)
    if exact.null_count() == text.null_count():
        return exact
    return text.str.replace(r"^([+-]?\d+)\.0*$", "${1}").cast(wanted, strict=False)


def _decimals(text: pl.Series, wanted: pl.Decimal) -> pl.Series:
    """Decimals from text; digits beyond the promised scale are a failure, not rounded away."""
    fraction = text.str.extract(r"^[+-]?\d*\.?(\d*?)0*$")
    keeps = fraction.is_not_null() & (fraction.str.len_chars() <= wanted.scale)
    return text.cast(wanted, strict=False).set(~keeps.fill_null(False), None)


def _lossless(before: pl.Series, after: pl.Series) -> pl.Series:
    """Keep what is equal when cast back; the rest becomes null, that is, a failure."""
    return after.set((after.cast(before.dtype, strict=False) != before).fill_null(True) & after.is_not_null(), None)


def _text(values: pl.Series) -> pl.Series:
    """Text from UTF-8 bytes."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:  # Polars does not say which value it is that is not UTF-8
        return pl.Series(values.name, [_decoded(value) for value in values.to_list()], dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _finite(before: pl.Series, after: pl.Series) -> pl.Series:
    """Numbers that became infinite did not fit."""
    if not after.dtype.is_float() or not before.dtype.is_float():
        return after
    return after.set((after.is_infinite() & before.is_finite()).fill_null(False), None)


def _same_items(before: pl.Series, after: pl.Series) -> pl.Series:
    """Nested values of which every item is what it was; the rest becomes null, that is, a failure."""
    back = after.cast(before.dtype, strict=False)
    return pl.select(pl.when(back.eq_missing(before)).then(after)).to_series().alias(before.name)


def _booleans(text: pl.Series) -> pl.Series:
    lower = text.str.strip_chars().str.to_lowercase().alias("text")
    known = pl.when(pl.col("text").is_in(TRUE)).then(True).when(pl.col("text").is_in(FALSE)).then(False)
    return lower.to_frame().select(known).to_series()


def _moments(text: pl.Series, wanted: pl.Datetime) -> pl.Series:
    """Timestamps from ISO 8601 text, by fixed formats: guessing one from the first value would misread the others.

    An offset (`Z`, `+02:00`) is honoured; without one the time is taken as UTC.
    """
    text = text.str.strip_chars()
    unit = wanted.time_unit
    plain = text.str.strip_suffix("Z")
    found = plain.str.to_datetime(DATETIME_FORMATS[0], time_unit=unit, strict=False)
    for form in DATETIME_FORMATS[1:]:
        if found.null_count() == text.null_count():
            break
        found = found.zip_with(found.is_not_null(), plain.str.to_datetime(form, time_unit=unit, strict=False))
    found = found.dt.replace_time_zone("UTC")
    if found.null_count() > text.null_count():
        iso = text.str.replace(" ", "T", literal=True)
        with_offset = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit=unit, time_zone="UTC", strict=False)
        found = found.zip_with(found.is_not_null(), with_offset)
    return _rezone(found, wanted)


def _rezone(values: pl.Series, wanted: pl.Datetime) -> pl.Series:
    """To the wanted zone and unit; a time without zone is taken as UTC."""
    zone = values.dtype.time_zone if isinstance(values.dtype, pl.Datetime) else None
    aware = values if zone else values.dt.replace_time_zone("UTC")
    moved = (
        aware.dt.convert_time_zone(wanted.time_zone) if wanted.time_zone else aware.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    )
    return moved.cast(wanted)


def holds_bytes(dtype: Any) -> bool:
    """Whether bytes are anywhere in a type: JSON has no form for them."""
    inner = (
        [field.dtype for field in dtype.fields]
        if isinstance(dtype, pl.Struct)
        else [dtype.inner]
        if isinstance(dtype, pl.List | pl.Array)
        else []
    )
    return bool(dtype == pl.Binary or any(map(holds_bytes, inner)))


def json_text(values: pl.Series) -> pl.Series:
    """Nested values as JSON text; null stays null."""
    wrapped = values.alias("v").to_frame().select(pl.struct("v").struct.json_encode()).to_series()
    inner = wrapped.str.slice(len('{"v":')).str.strip_suffix("}")
    return inner.set(values.is_null(), None)
