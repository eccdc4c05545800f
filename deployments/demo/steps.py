"""The demo's steps, announced with their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter


class Steps:
    """Collects steps and tells each when it is done.

    Parameters
    ----------
    say: called with a step's name and its seconds, from whichever thread the step ran in.
    """

    def __init__(self, say: Callable[[str, float], None]) -> None:
        self._say, self._started = say, perf_counter()
        self.done: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step and announce it when it ends well."""
        begun = self.begin()
        yield
        self.end(name, begun)

    def begin(self) -> float:
        """A moment to hand to `end`, for a step that overlaps another."""
        return perf_counter()

    def end(self, name: str, begun: float) -> None:
        """Announce a step that began then."""
        spent = round(perf_counter() - begun, 1)
        self.done.append((name, spent))
        self._say(name, spent)

    @property
    def total(self) -> float:
        """Seconds since the beginning of all."""
        return round(perf_counter() - self._started, 1)
