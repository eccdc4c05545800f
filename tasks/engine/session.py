"""One attempt of one run: what all its stages share. Handed between Prefect tasks as it is, never copied or hashed."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from blocks.settings import Settings
from tasks.batch import Batch, Counts, Interval, Position
from tasks.engine.gate import Gate
from tasks.landing import Landing
from tasks.ledger.lock import Lock
from tasks.ledger.runs import Kind, Run
from tasks.load.destination import Target
from tasks.pipeline import Pipeline
from tasks.refine.references import References

if TYPE_CHECKING:
    from blocks.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a user may ask of any pipeline; the same in the UI, the command line and Python.

    start_date, end_date: a window of the source's cursor, start included, end not. full_refresh: read everything, swap it in.
    limit: rows to read at most. None of them moves the incremental cursor except full_refresh.
    """

    start_date: datetime | None = None
    end_date: datetime | None = None
    full_refresh: bool = False
    limit: int | None = None

    @property
    def interval(self) -> Interval:
        """The window, open where a date is missing."""
        return Interval(self.start_date, self.end_date)

    def command(self, pipeline: str) -> str:
        """The command that runs the pipeline with these parameters."""
        asked = self.to_json()
        flags = (f" --{name.replace('_', '-')}" + ("" if value is True else f" {value}") for name, value in asked.items())
        return f"millrace run {pipeline}{''.join(flags)}"

    def to_json(self) -> dict[str, Any]:
        """Only what was asked for."""
        asked = {"start_date": self.start_date, "end_date": self.end_date, "full_refresh": self.full_refresh, "limit": self.limit}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items() if value}


class Session:
    """An open run.

    Parameters
    ----------
    pipeline, parameters: what was asked. warehouse, landing, settings: where it happens.
    run, kind, target, contract_version: as the ledger knows it. adopted: batches an earlier attempt landed.
    log: a logger, Prefect's inside a flow. progress: called with the session whenever rows were landed or loaded.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        parameters: Parameters,
        kind: Kind,
        run: Run,
        target: Target,
        contract_version: int,
        adopted: list[Batch],
        warehouse: Warehouse,
        landing: Landing,
        settings: Settings,
        lock: Lock,
        log: logging.Logger | logging.LoggerAdapter[Any],
        progress: Callable[[Session], None],
    ) -> None:
        self.pipeline, self.parameters, self.kind, self.run = pipeline, parameters, kind, run
        self.target, self.contract_version, self.adopted = target, contract_version, adopted
        self.warehouse, self.landing, self.settings, self.lock, self.log = warehouse, landing, settings, lock, log
        self.progress = progress
        self.gate, self.references = Gate(settings.loaders), References(warehouse)
        self.started = perf_counter()
        self.seconds: dict[str, float] = defaultdict(float)
        self.counts = Counts()
        self.rows_landed = sum(batch.rows for batch in adopted)
        self.bytes = 0
        self.source_columns: dict[str, str] = {}
        self.end: Position | None = run.read_to
        self.tail_items: dict[str, str] = dict(run.read_to.items) if run.read_to else {}
        self._mutex = threading.Lock()

    @property
    def batch_rows(self) -> int:
        """Rows per batch: the pipeline's own choice, else the setting."""
        return self.pipeline.batch_rows or self.settings.batch_rows

    @property
    def where(self) -> str:
        """Prefix of log lines and messages."""
        return f"{self.pipeline.name} run {self.run.id}"

    @property
    def moves_checkpoint(self) -> bool:
        """Whether the incremental cursor follows this run; windows, backfills and samples leave it alone."""
        return self.kind in ("incremental", "full_refresh")

    @contextmanager
    def timed(self, stage: str, into: dict[str, float] | None = None) -> Iterator[None]:
        """Add the time spent to a stage's seconds, and to a batch's own."""
        begin = perf_counter()
        try:
            yield
        finally:
            spent = perf_counter() - begin
            if into is not None:
                into[stage] = round(into.get(stage, 0.0) + spent, 4)
            with self._mutex:
                self.seconds[stage] += spent

    def landed(self, rows: int, size: int) -> None:
        """Note a landed batch of so many rows and bytes, and report progress."""
        with self._mutex:
            self.rows_landed += rows
            self.bytes += size
        self.progress(self)

    def count(self, counts: Counts) -> None:
        """Add a batch's outcome and report progress."""
        with self._mutex:
            self.counts += counts
        self.progress(self)
