"""A SQL database as a source: one typed, ordered, read-only stream; resumed behind the last row that landed. PostgreSQL so far."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.batch import Cursor, Position
from tasks.errors import BadData, MillraceError, Misconfigured, Transient
from tasks.extract.since import Bounds, Since
from tasks.extract.source import Page, Request

if TYPE_CHECKING:
    import psycopg

    from blocks.warehouse import Warehouse
    from tasks.extract.keyset import KeySet, SourceColumn

DONE: Mapping[str, Any] = {"done": True}
"""`resume` after the last row: a read from there has nothing left."""

YEAR_1, YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000
PASSING = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that are likely to pass: connections, conflicts, resources, operators, the machine."""

PASSING_SIGNS = ("canceling statement", "terminating connection", "deadlock", "could not serialize", "out of memory", "No space left")

DAY = 86_400_000_000
"""Microseconds from 1970 to the ends of what dates can be here, and in a day; PostgreSQL's infinity lies outside."""


@dataclass(frozen=True, slots=True)
class Sql:
    """Rows of a table or of a query, read in one read-only transaction (REPEATABLE READ) in the order of `since` and `key`.

    numeric with declared digits arrives as Decimal of that precision, numeric without as Decimal(38, 18) where the values
    fit, and as text in pages where they do not (NaN, too many digits). Arrays arrive as JSON text, json, uuid, enums, intervals
    and all other types as text. A table's primary key is found by itself. Without any key and without `since` a read cannot be
    resumed: after an interruption it starts from the beginning (`resumable`).

    Parameters
    ----------
    database: name of the warehouse block (or of the environment variable) to read from; None is the default warehouse.
    table: `schema.table`. query: a SELECT, where a table is not enough; one of the two.
    key: columns that identify a row, so that reading goes on exactly behind the last one.
    since: the column that only grows; without it every run reads everything.
    """

    database: str | None = None
    table: str | None = None
    query: str | None = None
    key: Sequence[str] = ()
    since: Since | None = None

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            do = 'Give table="schema.table" or query="SELECT …".'
            raise Misconfigured("Sql reads a table or a query, one of them", do=do, setting="table")
        if isinstance(self.key, str):
            raise Misconfigured("The key is a tuple of column names", do=f'Write key=("{self.key}",).', setting="key")

    @property
    def incremental(self) -> bool:
        """Whether there is a cursor."""
        return self.since is not None

    @property
    def resumable(self) -> bool:
        """Whether an interrupted read goes on where it was; a table's own primary key, found when it is read, serves as well."""
        return bool(self.key or self.since or self.table)

    @property
    def sparse(self) -> bool:
        """No: every row has every column."""
        return False

    def describe(self) -> str:
        """`postgres orders-db public.orders`."""
        what = self.table or " ".join((self.query or "").split())[:60]
        return " ".join(part for part in ("postgres", self.database, what) if part)

    def read(self, request: Request) -> Generator[Page, None, None]:
        """Pages of `batch_rows` rows; see `Source.read`. A page ends where the order changes, so equal values stay together."""
        if request.start.resume and request.start.resume.get("done"):
            return
        if request.interval and self.since is None:
            do = "Give Sql a Since, or run without dates."
            raise Misconfigured("A window was asked for, but the source has no Since", do=do, pipeline=request.pipeline)
        from blocks.warehouse import find_warehouse

        database = find_warehouse(self.database)
        statement, keys = self._statement(database, request)
        pages = _Pages(self, request, keys)
        for frame in _stream(self, database, statement, keys.columns):
            yield from pages.add(frame)
        yield pages.ended()

    def _statement(self, database: Warehouse, request: Request) -> tuple[str, KeySet]:
        """The SQL text of this read, and its order, from what the database says about the columns."""
        import psycopg

        try:
            with database.connect(autocommit=True) as connection:
                keys = self._keys(connection)
                resume = request.start.resume or {}
                bounds = self._bounds(request, resume)
                return keys.query(bounds, resume.get("last"), request.limit).as_string(connection), keys
        except psycopg.Error as error:
            raise _explained(self, database, error, error.sqlstate) from None

    def _bounds(self, request: Request, resume: Mapping[str, Any]) -> Bounds:
        from tasks.extract.since import decode

        bounds = self.since.bounds(request) if self.since else Bounds()
        if "low" in resume and not bounds.window:  # what the interrupted read began with
            return Bounds(None if resume["low"] is None else decode(resume["low"]))
        return bounds

    def _keys(self, connection: psycopg.Connection) -> KeySet:
        from psycopg import sql

        from tasks.extract.catalog import described, primary_key
        from tasks.extract.keyset import KeySet

        if self.table is not None:
            source: sql.Composable = sql.Identifier(*self.table.split("."))
        else:
            text = (self.query or "").strip().rstrip(";")
            source = sql.SQL("({}\n)").format(sql.SQL(text))
        columns = described(connection, source)
        key = tuple(self.key) or (primary_key(connection, self.table) if self.table else ())
        cursor = self.since.column if self.since else None
        order = list(dict.fromkeys([*([cursor] if cursor else []), *key]))
        names = [column.name for column in columns]
        for name in order:
            if name not in names:
                near = ", ".join(get_close_matches(name, names, n=3) or names[:20])
                what = f"{self.describe()} has no column `{name}`"
                raise Misconfigured(what, do=f"Correct key or since of the source; there are: {near}.", setting="key", value=name)
        return KeySet(source, columns, order, cursor)


class _Pages:
    """Cuts the stream into pages that end where the order changes, and says where the source stands after each."""

    def __init__(self, source: Sql, request: Request, keys: KeySet) -> None:
        self._source, self._request, self._order = source, request, list(keys.order)
        resume = request.start.resume or {}
        bounds = source._bounds(request, resume)
        from tasks.extract.since import encode

        self._low = None if bounds.low is None else encode(bounds.low)
        self._last: Sequence[Any] | None = resume.get("last")
        self._high: Cursor = request.start.cursor
        self._rows, self._held = 0, pl.DataFrame()

    def add(self, frame: pl.DataFrame) -> Iterator[Page]:
        """Take more rows, and give the pages that are full."""
        self._rows += frame.height
        self._held = frame if self._held.is_empty() else _joined(self._held, frame)
        size = self._request.batch_rows
        while self._held.height > size:
            cut = self._boundary(self._held.head(size + 1))
            yield self._page(self._held.head(cut or size), moved=cut > 0)
            self._held = self._held.slice(cut or size)

    def ended(self) -> Page:
        """The rest, of which the position says that there is nothing behind it, unless the limit cut it off."""
        limited = self._request.limit is not None and self._rows >= self._request.limit
        rest = self._page(self._held, moved=True)
        return rest if limited else replace(rest, position=Position(rest.position.cursor, DONE))

    def _boundary(self, rows: pl.DataFrame) -> int:
        """How many of the rows come before the last change of the order; 0 where all are alike, all but one without an order."""
        if not self._order:
            return rows.height - 1
        changes = rows.select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in self._order)).to_series()
        found = changes.slice(1).arg_true()
        return int(found[-1]) + 1 if len(found) else 0

    def _page(self, rows: pl.DataFrame, *, moved: bool) -> Page:
        from tasks.extract.keyset import stored

        if self._source.since is not None and not self._request.interval:
            self._high = self._source.since.highest(rows, self._high)
        if moved and self._order and rows.height:
            self._last = [stored(rows.get_column(name)[-1]) for name in self._order]
        resume = {"last": self._last, "low": self._low} if self._order and self._last is not None else None
        return Page(rows, Position(self._high, resume), self._source.describe())


def _stream(source: Sql, database: Warehouse, statement: str, columns: Sequence[SourceColumn]) -> Iterator[pl.DataFrame]:
    """The rows of a SELECT as typed frames of some megabytes, from a read-only transaction."""
    import pyarrow as pa
    from adbc_driver_manager import Error

    try:
        with closing(database.adbc()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(statement)
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    yield _typed(source, pl.DataFrame(pl.from_arrow(batch)), columns)
    except (Error, pa.ArrowException, OSError) as error:
        raise _explained(source, database, error, getattr(error, "sqlstate", None)) from None


def _typed(source: Sql, frame: pl.DataFrame, columns: Sequence[SourceColumn]) -> pl.DataFrame:
    decimals = [_decimal(frame.get_column(column.name), column) for column in columns if column.reading == "numeric"]
    for column in frame.iter_columns():
        if column.dtype in (pl.Date, pl.Datetime):
            unit = DAY if column.dtype == pl.Date else 1
            if not column.to_physical().cast(pl.Int64).is_between(YEAR_1 // unit, YEAR_10000 // unit, closed="left").all():
                what = f"`{column.name}` of {source.describe()} holds a date outside of the years 1 to 9999, or infinity"
                raise BadData(what, do="Select it as text (column::text) in a query of the source.", setting="query", value=column.name)
    return frame.with_columns(decimals)


def _decimal(text: pl.Series, column: SourceColumn) -> pl.Series:
    """Numbers as Decimal, or still as text where one of them would change."""
    digits, scale = (column.digits, column.scale) if column.digits and column.digits <= 38 else (38, 18)
    fraction = text.str.extract(r"\.(\d+)$").str.len_bytes().max()
    if isinstance(fraction, int) and fraction > (scale or 0):
        return text
    numbers = text.cast(pl.Decimal(digits, scale or 0), strict=False)
    return numbers if numbers.null_count() == text.null_count() else text


def _joined(above: pl.DataFrame, below: pl.DataFrame) -> pl.DataFrame:
    from tasks.extract.records import stack

    return stack([above, below])


def _explained(source: Sql, database: Warehouse, error: Exception, state: str | None) -> MillraceError:
    """A failure of the database as an error of ours."""
    said = " ".join(re.sub(r"\s*(Query was:|LINE \d+:).*", "", str(error), flags=re.DOTALL).split())
    where = f"{source.describe()} ({database.describe()})"
    # Once rows flow, the driver gives no SQLSTATE, only what the server said.
    passing = state[:2] in PASSING if state else "ERROR:" not in said or any(sign in said for sign in PASSING_SIGNS)
    if not passing:
        near = _near(source, database) if state == "42P01" else ""
        ways = {
            "42P01": f"Correct the table of the source{near}.",
            "42501": "Grant SELECT to the user of the block, and USAGE on the schema.",
        }
        do = ways.get(state or "", "Correct table, query, key or since of the source.")
        return Misconfigured(f"{where} cannot be read: {said}", do=do, setting="table")
    return Transient(f"{where} was interrupted: {said}", do="Run again; the run goes on behind the last row that landed.")


def _near(source: Sql, database: Warehouse) -> str:
    from tasks.extract.catalog import tables

    with database.connect(autocommit=True) as connection:
        names = tables(connection)
    near = get_close_matches(source.table or "", names, n=3) or names[:10]
    return f"; there are: {', '.join(near)}" if near else "; the user sees no table at all"
