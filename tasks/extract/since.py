"""The cursor of a source: how far it was read, from where to read on, and which rows are in a window (L7)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

import polars as pl

from tasks.batch import Cursor
from tasks.errors import BadData, Misconfigured
from tasks.extract.source import Request

Moment = datetime | date | int | float | str
"""A cursor as Python compares it."""

DEFAULT_LAG = timedelta(minutes=5)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME_FORMATS = ("%+", "%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z")
_NAIVE_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
_EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one read covers of the cursor column: low <= value < high; None leaves a side open.

    Parameters
    ----------
    window: it is a backfill window, so rows without a value lie outside of it; else they are always read.
    """

    low: Moment | None = None
    high: Moment | None = None
    window: bool = False


@dataclass(frozen=True, slots=True)
class Since:
    """Read only what is new: rows whose `column` is at or after the greatest value seen, less a lag.

    What is stored is the greatest value seen and never the lagged one; reading starts at that value minus `lag`, inclusive,
    and the key of the destination recognises what was seen already. Text in ISO 8601 is read as time; a time without a
    zone is UTC.

    Parameters
    ----------
    column: the column that only grows; in JSON a dotted path may lead into nested objects.
    param: query parameter of a REST API that takes the start; without it rows are filtered here.
    param_end: query parameter that takes the end of a backfill window, where the API has one.
    lag: how far back to read again for rows that were written late: `"5m"`, `"2h"`, `"3d"`, a timedelta, or a number
        for a numeric column. Default: five minutes for times, nothing for numbers and text.
    nulls: rows without a value are read in every run that is not a backfill window (`load`), or stop the run (`stop`);
        they are never skipped silently. A contract that does not allow nulls in the column sends them to quarantine.
    format: how the API is told times: `iso`, `epoch` or `epoch_ms` (then numbers in the column are times too), or a strftime pattern.
    ordered: the REST API answers oldest first, so the cursor may move with each page; else it moves when all pages are read.
    """

    column: str
    param: str | None = None
    lag: str | timedelta | float | None = None
    nulls: Literal["load", "stop"] = "load"
    format: str = "iso"
    ordered: bool = False
    param_end: str | None = None

    def __post_init__(self) -> None:
        if self.nulls not in ("load", "stop"):
            raise Misconfigured(
                "Since knows no such policy for nulls", do="Use nulls='load' or nulls='stop'.", setting="nulls", value=self.nulls
            )
        if isinstance(self.lag, str):
            duration(self.lag)

    def bounds(self, request: Request) -> Bounds:
        """What a read has to cover: the window, or all from the lagged cursor on, or everything."""
        if request.interval:
            return Bounds(request.interval.start, request.interval.end, window=True)
        if request.full or request.start.cursor is None:
            return Bounds()
        return Bounds(self.lagged(request.start.cursor))

    def lagged(self, cursor: Cursor) -> Moment:
        """The value to start reading at, inclusive."""
        value = decode(cursor)
        if isinstance(value, datetime):
            return value - self._duration()
        if isinstance(value, date):
            return (datetime.combine(value, time()) - self._duration()).date()
        if self.lag in (None, 0):
            return value
        if isinstance(value, str) or not isinstance(self.lag, (int, float)):
            what = f"A lag of {self.lag!r} does not fit `{self.column}`, which holds {'text' if isinstance(value, str) else 'numbers'}"
            raise Misconfigured(what, do="Give a number for a numeric column, and no lag for text.", setting="lag", value=cursor)
        return value - self.lag

    def sent(self, value: Moment) -> str | int | float:
        """A bound as the API is told it."""
        if isinstance(value, datetime):
            if self.format in _EPOCHS:
                return int(value.timestamp() * 1_000_000) // _EPOCHS[self.format]
            return str(encode(value)) if self.format == "iso" else value.astimezone(UTC).strftime(self.format)
        return value.isoformat() if isinstance(value, date) else value

    def values(self, rows: pl.DataFrame) -> pl.Series:
        """The cursor column as times in UTC, dates, numbers or text; what cannot be read as such is null.

        Raises
        ------
        Misconfigured: there is no such column. BadData: a value is null where `nulls="stop"`.
        """
        column = self._column(rows)
        if self.nulls == "stop" and column.null_count():
            row = int(column.is_null().arg_max() or 0)
            what = f"A record has no `{self.column}`, which Since needs to move on"
            raise BadData(what, do="Have the source fill it, or use nulls='load' to read such rows in every run.", row=row)
        if column.dtype.is_numeric() and self.format in _EPOCHS:
            return (column * _EPOCHS[self.format]).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
        return typed(column)

    def highest(self, rows: pl.DataFrame, before: Cursor) -> Cursor:
        """The greatest value of these rows and of what was seen before; never less than `before`."""
        if rows.is_empty():
            return before
        values = self.values(rows)
        if values.dtype.is_float():
            values = values.filter(values.is_finite())
        if values.dtype == pl.String and before is not None and not isinstance(decode(before), str):
            return before  # not one of them can be read as the time or number that the cursor is
        greatest = values.max()
        return before if greatest is None else later(before, encode(greatest), self.column)

    def within(self, rows: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
        """The rows that lie in the bounds; rows without a value stay unless the bounds are a backfill window."""
        if rows.is_empty() or (bounds.low is None and bounds.high is None):
            return rows
        values = self.values(rows)
        if values.null_count() == rows.height or (values.dtype == pl.String and isinstance(bounds.low or bounds.high, date)):
            return rows.clear() if bounds.window else rows
        low, high = (self._fitting(bound, values.dtype) for bound in (bounds.low, bounds.high))
        if isinstance(low or high, datetime) and values.dtype == pl.Date:
            values = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        inside = pl.repeat(True, rows.height, dtype=pl.Boolean, eager=True)
        if low is not None:
            inside &= values >= low
        if high is not None:
            inside &= values < high
        return rows.filter(inside.fill_null(not bounds.window))

    def _duration(self) -> timedelta:
        if self.lag is None:
            return DEFAULT_LAG
        if isinstance(self.lag, (int, float)) and self.lag != 0:
            raise Misconfigured(
                f"A lag of {self.lag!r} does not fit `{self.column}`, which holds times", do='Write a duration such as "5m".', setting="lag"
            )
        return self.lag if isinstance(self.lag, timedelta) else duration(str(self.lag or "0s"))

    def _column(self, rows: pl.DataFrame) -> pl.Series:
        if self.column in rows.columns:
            return rows.get_column(self.column)
        first, *rest = self.column.split(".")
        if rest and first in rows.columns:
            found = rows.get_column(first)
            for field in rest:
                if not isinstance(found.dtype, pl.Struct) or field not in [each.name for each in found.dtype.fields]:
                    break
                found = found.struct.field(field)
            else:
                return found
        near = get_close_matches(self.column, rows.columns, n=3) or rows.columns[:20]
        raise Misconfigured(
            f"The records have no `{self.column}`, which Since needs to move on",
            do=f"Name another column; there are: {', '.join(near)}.",
            setting="since",
            value=self.column,
        )

    def _fitting(self, bound: Moment | None, dtype: pl.DataType) -> Moment | None:
        """The bound in the type of the column, or Misconfigured where they cannot be compared."""
        if (isinstance(bound, datetime) and dtype == pl.Datetime) or bound is None:
            return bound
        if isinstance(bound, date) and not isinstance(bound, datetime) and dtype == pl.Datetime:
            return datetime.combine(bound, time(), UTC)
        kinds = {datetime: dtype == pl.Date, date: dtype == pl.Date, str: dtype == pl.String}
        if (dtype.is_numeric() and isinstance(bound, (int, float))) or kinds.get(type(bound), False):
            return bound
        raise Misconfigured(
            f"`{self.column}` holds {dtype} and cannot be compared with {bound}",
            do="Name a column of times, or set format='epoch' or 'epoch_ms' where the numbers are times.",
            setting="since",
        )


def duration(text: str) -> timedelta:
    """A duration written as `90s`, `5m`, `2h`, `3d`, `1w`, or several of them together; raises Misconfigured for anything else."""
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Misconfigured("Not a duration", do='Write it as "90s", "5m", "2h", "3d" or "1w".', setting="lag", value=text)
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


def encode(value: object) -> Cursor:
    """A value as the ledger keeps it; a decimal is rounded down, so that nothing at or after it is skipped."""
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return f"{aware:%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return math.floor(value)
    return value if isinstance(value, (str, int, float)) or value is None else str(value)


def decode(cursor: Cursor) -> Moment:
    """Inverse of `encode`, for a cursor that is set."""
    if isinstance(cursor, str) and _TIME.fullmatch(cursor):
        return datetime.fromisoformat(cursor)
    if isinstance(cursor, str) and _DATE.fullmatch(cursor):
        return date.fromisoformat(cursor)
    return cursor if cursor is not None else ""


def later(before: Cursor, now: Cursor, column: str) -> Cursor:
    """The greater of two cursors; raises Misconfigured where they are of different kinds."""
    if before is None or now is None:
        return now if before is None else before
    one, other = decode(before), decode(now)
    if isinstance(one, date) and isinstance(other, date):
        one, other = (v if isinstance(v, datetime) else datetime.combine(v, time(), UTC) for v in (one, other))
    try:
        return now if other > one else before  # type: ignore[operator]  # unlike kinds are what the except is for
    except TypeError:
        raise Misconfigured(
            f"The cursor of `{column}` was {before!r} and is now {now!r}, which cannot be compared",
            do="Name another column, or run once with full_refresh to start over.",
            setting="since",
            value=now,
        ) from None


def typed(column: pl.Series) -> pl.Series:
    """A column as times in UTC (microseconds), dates, numbers or text."""
    if isinstance(column.dtype, pl.Datetime):
        aware = column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        return aware.cast(pl.Datetime("us", "UTC"))
    if column.dtype != pl.String or column.null_count() == len(column):
        return column
    zoned = [column.str.to_datetime(each, time_unit="us", time_zone="UTC", strict=False) for each in _TIME_FORMATS]
    naive = [column.str.to_datetime(each, time_unit="us", strict=False).dt.replace_time_zone("UTC") for each in _NAIVE_FORMATS]
    times = pl.select(pl.coalesce([*zoned, *naive])).to_series()
    if times.null_count() < len(times):
        return times
    dates = column.str.to_date("%Y-%m-%d", strict=False)
    return dates if dates.null_count() < len(dates) else column
