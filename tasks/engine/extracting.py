"""Extraction: pages gathered into batches, each landed as a file and registered before anything else happens to it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import polars as pl
from polars.datatypes import DataTypeClass

from tasks.batch import Batch, Position
from tasks.engine.loading import placed
from tasks.engine.session import Session
from tasks.errors import BadData, MillraceError, Transient
from tasks.extract.source import Page, Request
from tasks.landing import LandedFile
from tasks.ledger import batches, runs


@dataclass
class Gathered:
    """Pages on their way to become one batch."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    shape: pl.DataFrame = field(default_factory=pl.DataFrame)
    rows: int = 0
    position: Position | None = None
    items: dict[str, str] = field(default_factory=dict)
    origins: dict[str, None] = field(default_factory=dict)
    calls: int = 0

    def add(self, page: Page) -> None:
        """Take a page in."""
        if page.rows.height:
            self.frames.append(page.rows)
            self.shape = pl.concat([self.shape, page.rows.clear()], how="diagonal_relaxed")
        self.rows += page.rows.height
        self.position = page.position
        self.items |= page.position.items
        self.calls += page.calls
        self.origins[page.origin] = None

    def fits(self, page: Page) -> bool:
        """Whether the page can stand in one frame with the others: no value may change because of its neighbours."""
        return all(self._takes(page.rows.get_column(name)) for name in page.rows.columns if name in self.shape.columns)

    def _takes(self, values: pl.Series) -> bool:
        known, found = self.shape.schema[values.name], values.dtype
        if _alike(known, found):
            return True
        if found.is_integer() and known == pl.Float64:
            return _whole(values)
        above = (frame.get_column(values.name) for frame in self.frames if values.name in frame.columns)
        return known.is_integer() and found == pl.Float64 and all(map(_whole, above))

    def frame(self) -> pl.DataFrame:
        """All rows in one frame; a column that a page lacks is null there."""
        return pl.concat(self.frames, how="diagonal_relaxed", rechunk=False)

    def origin(self) -> str:
        """Where the rows came from: the first origins, and how many more."""
        shown = ", ".join(list(self.origins)[:3])
        return shown if len(self.origins) <= 3 else f"{shown} and {len(self.origins) - 3} more"


def _alike(known: pl.DataType, found: pl.DataType) -> bool:
    """Equal types, or types with a common one that keeps every value as it is."""
    if known == found or pl.Null in (known, found):
        return True
    if isinstance(known, pl.Struct) and isinstance(found, pl.Struct):
        there = {field.name: field.dtype for field in known.fields}
        return all(_alike(_kind(there[field.name]), _kind(field.dtype)) for field in found.fields if field.name in there)
    if isinstance(known, pl.List) and isinstance(found, pl.List):
        return _alike(_kind(known.inner), _kind(found.inner))
    pair = (known, found)
    return (
        all(dtype.is_signed_integer() for dtype in pair)
        or all(dtype.is_unsigned_integer() for dtype in pair)
        or all(dtype.is_float() for dtype in pair)
    )


def _kind(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _whole(values: pl.Series) -> bool:
    """Whether these whole numbers survive as floats."""
    return values.dtype.is_float() or bool(values.is_between(-(2**53), 2**53).all())


@dataclass(frozen=True, slots=True)
class Unregistered:
    """What was read and the ledger does not know of yet: its file (none without rows), and whether the source ended with it."""

    gathered: Gathered
    ended: bool
    file: LandedFile | None


class Extraction:
    """Reads a session's source batch by batch; after an error the next call reads on behind the last landed batch."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._from = session.run.resume
        self._seq = session.run.seq
        self._pages: Generator[Page, None, None] | None = None
        self._held: Page | None = None
        self._deferred: BadData | None = None
        self._left = session.parameters.limit
        self._broken: MillraceError | None = None
        self._unregistered: Unregistered | None = None

    def next_batch(self) -> Batch | None:
        """Land the next batch; None when the source has no more.

        Raises what the source raises; BadData about some of its objects comes after all the others were landed. Where a source that
        failed cannot be read on in the middle, and rows that come twice would be kept twice, it raises what no retry mends.
        """
        if self._broken is not None:
            raise self._broken
        if self._unregistered is not None:  # the connection was lost before the ledger knew of what was read
            with placed(self._session.pipeline.name):
                return self._register(self._unregistered)
        if self._deferred is not None:
            raise self._deferred
        if self._session.end is not None:
            return None
        left = self._left
        try:
            with placed(self._session.pipeline.name):
                gathered, ended = self._gather()
        except BaseException as error:
            self.close()
            self._left = left
            if isinstance(error, Transient) and not self._can_read_on():
                self._broken = _starts_over(error)
                raise self._broken from error
            raise
        with placed(self._session.pipeline.name):
            self._unregistered = Unregistered(gathered, ended, self._written(gathered))
            return self._register(self._unregistered)

    def _can_read_on(self) -> bool:
        """Whether another read brings no row of this attempt again, or only into a table that knows it by its key."""
        session = self._session
        keyed = bool(session.pipeline.destination.key) and not session.target.staged
        return keyed or self._seq == session.run.seq or bool(self._from.resume or self._from.items)

    def close(self) -> None:
        """Release the source; harmless when there is nothing to release."""
        if self._pages is not None:
            self._pages.close()
        self._pages, self._held = None, None

    def _gather(self) -> tuple[Gathered, bool]:
        session, gathered = self._session, Gathered()
        if self._pages is None:
            self._pages = session.pipeline.source.read(request(session, self._from))
        while self._left is None or self._left > 0:
            page = self._held or self._next_page()
            self._held = None
            if page is None:
                return gathered, True
            if not gathered.fits(page):
                self._held = page
                return gathered, False
            if self._left is not None:
                page = Page(page.rows.head(self._left), page.position, page.origin, page.calls)
                self._left -= page.rows.height
            gathered.add(page)
            if gathered.rows >= session.batch_rows:
                return gathered, False
        self._pages.close()
        return gathered, True

    def _next_page(self) -> Page | None:
        assert self._pages is not None  # noqa: S101 (set by the only caller)
        try:
            return next(self._pages, None)
        except BadData as error:
            # Some objects of the source are unreadable; what the others gave is landed and loaded first.
            self._deferred = error
            return None

    def _written(self, gathered: Gathered) -> LandedFile | None:
        """The file of these rows; none where there are none."""
        session = self._session
        if not gathered.rows:
            return None
        with session.timed("land"):
            file = session.landing.write(gathered.frame(), session.pipeline.name, session.run.id, self._seq, session.run.attempt)
        gathered.frames.clear()
        return file

    def _register(self, read: Unregistered) -> Batch | None:
        """Note in the ledger what was read; until that is done, the next call does it again and reads nothing."""
        session, batch = self._session, None
        gathered, file = read.gathered, read.file
        position = gathered.position or self._from
        position = Position(position.cursor, position.resume, gathered.items)
        complete = read.ended and self._deferred is None
        with session.timed("land"), session.warehouse.connect() as conn:
            if file is not None:
                batch = batches.register(
                    conn,
                    session.run,
                    session.pipeline.name,
                    self._seq,
                    file,
                    gathered.rows,
                    position,
                    gathered.origin(),
                    gathered.calls,
                )
            if complete:
                runs.read_complete(conn, session.run.id, position)
        self._unregistered = None
        self._from = Position(position.cursor, position.resume, {**self._from.items, **gathered.items})
        if file is None:
            session.tail_items |= gathered.items
        else:
            self._seq += 1
            session.landed(gathered.rows, file.bytes)
        if complete:
            session.end = position
        if batch is None and self._deferred is not None:
            raise self._deferred
        return batch


def _starts_over(error: Transient) -> MillraceError:
    return MillraceError(
        f"The read was interrupted and this source cannot be read on in the middle: {error.what}",
        do="Run again: what this run loaded is taken back and the source is read from its beginning",
        pipeline=error.pipeline,
    )


def request(session: Session, start: Position) -> Request:
    """What this run asks of its source."""
    full = session.kind == "full_refresh"
    with session.warehouse.connect(autocommit=True) as conn:
        seen = dict(start.items) if full else {**runs.seen_items(conn, session.pipeline.name), **start.items}
    return Request(
        pipeline=session.pipeline.name,
        start=start,
        interval=session.parameters.interval,
        seen=seen,
        full=full,
        limit=session.parameters.limit,
        batch_rows=session.batch_rows,
    )
