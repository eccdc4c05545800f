"""Which batches of a run load side by side: a bounded number, and only those whose keys are apart, so that order never matters."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.errors import MillraceError

KeyRange = tuple[tuple[Any, ...], tuple[Any, ...]]


class Withdrawn(MillraceError):
    """A batch was not loaded because one before it failed; that one's error is the run's."""


@dataclass(slots=True)
class _Place:
    """A batch in the queue: whether a worker has it in hand, and its keys once they are known."""

    active: bool = False
    announced: bool = False
    keys: KeyRange | None = None


class Gate:
    """Lets batches work in order of their numbers. An earlier batch never waits for a later one, so nothing can deadlock.

    Parameters
    ----------
    width: batches that may be in work at the same time.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._changed = threading.Condition()
        self._queue: dict[int, _Place] = {}
        self._failed: int | None = None

    def expect(self, seq: int) -> None:
        """Announce a batch before it is handed to a worker, so that later ones know of it."""
        with self._changed:
            self._queue[seq] = _Place()

    @contextmanager
    def turn(self, seq: int) -> Iterator[None]:
        """Hold one of the places; on an error the place is given back, and the batch keeps its rank for the next try."""
        with self._changed:
            self._changed.wait_for(lambda: self._shut(seq) or self._free(seq))
            self._refuse(seq)
            self._queue[seq].active = True
        try:
            yield
        finally:
            with self._changed:
                if seq in self._queue:
                    self._queue[seq].active = False
                self._changed.notify_all()

    def wait_for_keys(self, seq: int, keys: KeyRange | None) -> None:
        """Wait until every earlier batch is loaded or works on other keys; `None`: rows without a key, which cannot collide.

        Raises
        ------
        Withdrawn: an earlier batch failed for good; loading this one first would let older rows win later.
        """
        with self._changed:
            place = self._queue[seq]
            place.announced, place.keys = True, keys
            self._changed.notify_all()
            if keys is not None:
                self._changed.wait_for(lambda: self._shut(seq) or self._alone(seq, keys))
                self._refuse(seq)

    def leave(self, seq: int) -> None:
        """The batch is loaded, or failed for good; harmless when it left already."""
        with self._changed:
            self._queue.pop(seq, None)
            self._changed.notify_all()

    def fail(self, seq: int) -> None:
        """The batch failed for good: of those behind it, only what is loading already may end."""
        with self._changed:
            self._failed = seq if self._failed is None else min(seq, self._failed)
            self._changed.notify_all()

    def _shut(self, seq: int) -> bool:
        return self._failed is not None and seq > self._failed

    def _refuse(self, seq: int) -> None:
        if self._shut(seq):
            raise Withdrawn(
                "An earlier batch of this run failed", do="Mend that one: this batch waits in the landing and is loaded behind it"
            )

    def _alone(self, seq: int, keys: KeyRange) -> bool:
        return all(_apart(other, keys) for earlier, other in self._queue.items() if earlier < seq)

    def _free(self, seq: int) -> bool:
        in_work = sum(place.active for place in self._queue.values())
        return in_work < self._width and all(place.active for earlier, place in self._queue.items() if earlier < seq)


def _apart(other: _Place, keys: KeyRange) -> bool:
    if not other.announced:
        return False
    return other.keys is None or other.keys[1] < keys[0] or keys[1] < other.keys[0]


def key_range(rows: pl.DataFrame, key: Sequence[str]) -> KeyRange | None:
    """Least and greatest key of a batch, compared column by column; None where there is no key or no row."""
    if not key or rows.is_empty():
        return None
    return _extreme(rows, key, least=True), _extreme(rows, key, least=False)


def _extreme(rows: pl.DataFrame, key: Sequence[str], *, least: bool) -> tuple[Any, ...]:
    found: list[Any] = []
    for column in key:
        values = rows.get_column(column)
        if isinstance(values.dtype, pl.Categorical | pl.Enum):  # their own order is not that of their text
            values = values.cast(pl.String)
        best = values.min() if least else values.max()
        found.append(best)
        rows = rows.filter(values == best)
    return tuple(found)
