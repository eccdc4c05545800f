"""What every source (extractor) offers the engine: one method, `read`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import polars as pl

from tasks.batch import Interval, Position


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of source data: up to a batch of rows, and where the source stands after them.

    Parameters
    ----------
    rows: the records as they came: source column names, untouched values (CSV fields stay text); may be empty
        where only the position moved.
    position: a read that starts here continues exactly after the last of these rows.
    origin: where the rows came from, for people and for `trace`: a URL without secrets, a file URI, a table.
    calls: requests or queries made for this page, for the cost figures.
    """

    rows: pl.DataFrame
    position: Position
    origin: str
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the engine asks of a source for one read.

    Parameters
    ----------
    pipeline: name, for messages.
    start: where to begin. `start.cursor` is the stored checkpoint (the source applies its own lag);
        `start.resume` is set only when an interrupted read of the same run continues.
    interval: a backfill window; when set, the cursor of `start` is ignored for filtering.
    seen: URI → digest of the objects loaded already (file-like sources skip those that did not change).
    full: read everything, whatever the cursor or `seen` say.
    limit: stop after about this many rows (the engine cuts exactly).
    batch_rows: the most rows a page should hold.
    """

    pipeline: str
    start: Position = field(default_factory=Position)
    interval: Interval = field(default_factory=Interval)
    seen: Mapping[str, str] = field(default_factory=dict)
    full: bool = False
    limit: int | None = None
    batch_rows: int = 250_000


@runtime_checkable
class Source(Protocol):
    """A source. Implementations are frozen dataclasses, so that a pipeline file reads like prose and importing it does nothing."""

    @property
    def incremental(self) -> bool:
        """Whether a second read brings only what is new: then zero rows are normal, else they are an alert."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether a record may simply lack a field (JSON): then a column that a batch lacks is null, not gone."""
        ...

    def read(self, request: Request) -> Generator[Page, None, None]:
        """Yield pages in order; closing the generator releases every connection and file.

        Raises
        ------
        Transient: the engine calls `read` again from the last landed position.
        BadData: an object could not be read; raised after all the others were, naming each.
        Misconfigured: a setting, credential or path is wrong.
        """
        ...

    def describe(self) -> str:
        """One line for the ledger and the UI, without secrets: `GET api.acme.test/issues`, `postgres orders`."""
        ...
