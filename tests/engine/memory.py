"""A source in memory, and a pipeline over it: the fake at the protocol's edge. Everything behind it is real."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tasks.batch import Position
from tasks.contract import Contract, Field
from tasks.extract.source import Page, Request
from tasks.load.destination import Destination
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline

SCHEMA = {"id": pl.Int64, "name": pl.String, "v": pl.Int64}


class Thing(Contract):
    """What the tests promise: negative values are bad."""

    id: int
    name: str = Field(nullable=True)
    v: int = Field(ge=0)


@dataclass(frozen=True)
class Rows:
    """Pages of rows in memory.

    Parameters
    ----------
    pages: each a frame. resumes: a read can go on behind any page. as_items: each page is an object of its own, as a file is.
    before: called with the page's number before it is given, to fail or to look around.
    """

    pages: Sequence[pl.DataFrame]
    resumes: bool = True
    as_items: bool = False
    incremental: bool = True
    sparse: bool = False
    before: Callable[[int], None] = field(default=lambda number: None)

    def read(self, request: Request) -> Generator[Page, None, None]:
        first = (request.start.resume or {}).get("page", 0)
        highest = request.start.cursor
        for number, rows in enumerate(self.pages):
            uri = f"memory://{number}"
            known = {**request.start.items, **({} if request.full else request.seen)}
            if number < first or (self.as_items and known.get(uri) == str(rows.height)):
                continue
            self.before(number)
            top = rows["id"].max() if "id" in rows.columns and rows.height else None
            highest = max((value for value in (highest, top) if value is not None), default=None)
            place = {"page": number + 1} if self.resumes else None
            yield Page(rows, Position(highest, place, {uri: str(rows.height)} if self.as_items else {}), uri)

    def describe(self) -> str:
        return "rows in memory"


def same(page: pl.LazyFrame) -> pl.LazyFrame:
    """Changes nothing."""
    return page


def page(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Rows of (id, name, v)."""
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def things(source: Rows, destination: Destination | None = None, name: str = "things", **options: Any) -> Pipeline:
    """A pipeline from memory into `raw.things`."""
    chosen = {"contract": Thing, "transform": same, "batch_rows": 4} | options
    return Pipeline(name=name, source=source, destination=destination or Upsert("raw.things", key=("id",)), **chosen)
