"""Extraction: pages gathered into batches, each landed as a file and registered before anything else happens to it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import polars as pl

from tasks.batch import Batch, Position
from tasks.engine.session import Session
from tasks.errors import BadData, MillraceError
from tasks.extract.source import Page, Request
from tasks.ledger import batches, runs


@dataclass
class Gathered:
    """Pages on their way to become one batch."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    rows: int = 0
    position: Position | None = None
    items: dict[str, str] = field(default_factory=dict)
    origins: list[str] = field(default_factory=list)
    calls: int = 0

    def add(self, page: Page) -> None:
        """Take a page in."""
        if page.rows.height:
            self.frames.append(page.rows)
        self.rows += page.rows.height
        self.position = page.position
        self.items |= page.position.items
        self.calls += page.calls
        if page.origin not in self.origins:
            self.origins.append(page.origin)

    def fits(self, page: Page) -> bool:
        """Whether the page can stand in one frame with the others: the same columns may differ in presence, not in kind."""
        if not self.frames or not page.rows.height:
            return True
        try:
            pl.concat([self.frames[-1].clear(), page.rows.clear()], how="diagonal_relaxed")
        except pl.exceptions.PolarsError:
            return False
        known = self.frames[-1].schema
        return all(_mergeable(known[name], dtype) for name, dtype in page.rows.schema.items() if name in known)

    def frame(self) -> pl.DataFrame:
        """All rows in one frame; a column that a page lacks is null there."""
        return pl.concat(self.frames, how="diagonal_relaxed", rechunk=False)

    def origin(self) -> str:
        """Where the rows came from: the first origins, and how many more."""
        shown = ", ".join(self.origins[:3])
        return shown if len(self.origins) <= 3 else f"{shown} and {len(self.origins) - 3} more"


def _mergeable(known: pl.DataType, found: pl.DataType) -> bool:
    """Equal types, or one is all null: no number becomes text just because of its neighbours."""
    return known == found or pl.Null in (known, found) or (known.is_numeric() and found.is_numeric())


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

    def next_batch(self) -> Batch | None:
        """Land the next batch; None when the source has no more.

        Raises what the source raises; BadData about some of its objects comes after all the others were landed.
        """
        if self._deferred is not None:
            raise self._deferred
        if self._session.end is not None:
            return None
        try:
            gathered, ended = self._gather()
        except BaseException:
            self.close()
            raise
        return self._land(gathered, ended)

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
        except MillraceError as error:
            raise error.at(pipeline=self._session.pipeline.name) from error

    def _land(self, gathered: Gathered, ended: bool) -> Batch | None:
        session, batch = self._session, None
        position = gathered.position or self._from
        position = Position(position.cursor, position.resume, gathered.items)
        with session.timed("land"):
            file = session.landing.write(gathered.frame(), session.pipeline.name, session.run.id, self._seq) if gathered.rows else None
            complete = ended and self._deferred is None
            with session.warehouse.connect() as conn:
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
        self._from = position
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


def request(session: Session, start: Position) -> Request:
    """What this run asks of its source."""
    full = session.kind == "full_refresh"
    with session.warehouse.connect(autocommit=True) as conn:
        seen = {} if full else runs.seen_items(conn, session.pipeline.name)
    return Request(
        pipeline=session.pipeline.name,
        start=start if not full or session.run.continued else Position(None, start.resume, start.items),
        interval=session.parameters.interval,
        seen=seen,
        full=full,
        limit=session.parameters.limit,
        batch_rows=session.batch_rows,
    )
