"""The walk of a run: extraction a bounded number of batches ahead of loading, on whatever runs the stages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.batch import Batch, Counts
from tasks.engine.closing import Report
from tasks.engine.extracting import Extraction
from tasks.engine.gate import Withdrawn
from tasks.engine.session import Session


class Pending(Protocol):
    """A load on its way: Prefect's future or the standard library's."""

    def result(self) -> Any:
        """Wait for it; raises what it raised."""
        ...


@dataclass(frozen=True, slots=True)
class Stages:
    """How each stage is called: as Prefect tasks in a flow, plainly in a notebook or a test.

    extract: lands the next batch, None at the end. load: starts loading a batch. inspect: checks one for rules that stop.
    close: ends the run.
    """

    extract: Callable[[Session, Extraction], Batch | None]
    load: Callable[[Session, Batch], Pending]
    inspect: Callable[[Session, Batch], None]
    close: Callable[[Session], Report]


def walk(session: Session, stages: Stages) -> Report:
    """Walk all batches of an open session and close it. Every load that was started is waited for, whatever happens."""
    extraction = Extraction(session)
    loading: deque[tuple[Batch, Pending]] = deque()
    try:
        ready = list(session.adopted)
        if session.pipeline.stops:
            ready = _all_inspected(session, extraction, stages, ready)
        for batch in ready:
            _submit(session, stages, loading, batch)
        while (landed := stages.extract(session, extraction)) is not None:
            _submit(session, stages, loading, landed)
        while loading:
            _settle(session, loading)
    except BaseException as error:
        if not isinstance(error, Exception):  # told to stop, and perhaps killed soon: what has not begun stays in the landing
            session.gate.fail(-1)
        raise
    finally:
        extraction.close()
        _wait_out(session, loading)
    return stages.close(session)


def _submit(session: Session, stages: Stages, loading: deque[tuple[Batch, Pending]], batch: Batch) -> None:
    """Start a load, and wait for the oldest while too many are on their way (L5)."""
    session.gate.expect(batch.seq)
    loading.append((batch, stages.load(session, batch)))
    while len(loading) >= session.settings.ahead + session.settings.loaders:
        _settle(session, loading)


def _settle(session: Session, loading: deque[tuple[Batch, Pending]]) -> Counts:
    """Wait for the oldest load. One that we are called away from (a signal) stays where it is, as it still runs."""
    batch, pending = loading[0]
    try:
        counts: Counts = pending.result()
    except Exception:
        session.gate.fail(batch.seq)
        _let_go(session, loading)
        raise
    _let_go(session, loading)
    return counts


def _let_go(session: Session, loading: deque[tuple[Batch, Pending]]) -> None:
    session.gate.leave(loading.popleft()[0].seq)


def _wait_out(session: Session, loading: deque[tuple[Batch, Pending]]) -> None:
    """Let loads that run end before the run is closed as failed; the first error is already on its way up."""
    while loading:
        try:
            _settle(session, loading)
        except Withdrawn:
            session.log.info("%s a later batch waits in the landing", session.where)
        except Exception as error:  # noqa: BLE001 (logged; the first error is the one that is raised)
            session.log.error("%s another batch failed too: %s", session.where, error)


def _all_inspected(session: Session, extraction: Extraction, stages: Stages, ready: list[Batch]) -> list[Batch]:
    """A rule that stops the run must do so before anything is loaded: land all, check all, then load."""
    while (landed := stages.extract(session, extraction)) is not None:
        ready.append(landed)
    for batch in ready:
        stages.inspect(session, batch)
    return ready
