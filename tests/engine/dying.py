"""Run as a process: a pipeline over rows in memory that kills itself at the named point, by SIGKILL, as a power cut would.

python -m tests.engine.dying NAME STRATEGY POINT
"""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import polars as pl
import psycopg

from tasks.batch import Batch, Counts
from tasks.engine.closing import Report
from tasks.engine.extracting import Extraction
from tasks.engine.opening import open_session
from tasks.engine.plain import LOG, plain_stages
from tasks.engine.session import Parameters, Session
from tasks.engine.walk import Stages, walk
from tasks.landing import LandedFile, Landing
from tasks.load.append import Append
from tasks.load.destination import Target
from tasks.load.replace import Replace
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.memory import Rows, page, things

POINTS = ("written", "landed", "refine", "loading", "loaded", "before close", "in close", "after close")
STRATEGIES = ("upsert", "append", "replace", "refresh")
FATAL = 5
"""The batch of this number on is the one that dies; ids say which batch a row is in."""

PAGES = (
    page((1, "a", 1), (2, "b", 2), (3, "c", -1), (4, "d", 4)),
    page((5, "e", 5), (2, "b", 6), (7, None, -2), (8, "h", 8)),
    page((9, "i", 9), (10, "j", 10), (5, "e", 5), (11, "k", -3)),
)


def pipeline(name: str, strategy: str, source: Rows) -> Pipeline:
    """The pipeline of a case."""
    table = f"raw.{name}"
    kinds = {
        "upsert": Upsert(table, key=("id",)),
        "append": Append(table),
        "replace": Replace(table),
        "refresh": Upsert(table, key=("id",)),
    }
    return things(source, kinds[strategy], name=name)


def parameters(strategy: str) -> Parameters:
    """What the run of a case is asked for."""
    return Parameters(full_refresh=strategy == "refresh")


def die(*_: object) -> Any:
    """As `kill -9` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingLanding(Landing):
    """Dies when a file lies there and nobody knows."""

    def write(self, frame: pl.DataFrame, pipeline: str, run: int, seq: int, attempt: int) -> LandedFile:
        file = super().write(frame, pipeline, run, seq, attempt)
        return die() if seq == 1 else file


class DyingDestination:
    """Dies when the rows are written and not committed."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def load(self, conn: psycopg.Connection, target: Target, rows: pl.DataFrame, batch: int) -> Counts:
        counts: Counts = self._inner.load(conn, target, rows, batch)
        return die() if FATAL in rows["id"] else counts


class DyingSeconds(defaultdict[str, float]):
    """Dies when it is read, which is the last thing that a closing run does before it commits."""

    __iter__ = keys = die


def dying_transform(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Dies on the second page."""
    return die() if FATAL in frame.collect()["id"].head(1) else frame


def dying_stages(point: str, whole: Stages) -> Stages:
    """The stages, of which one dies."""

    def extract(session: Session, extraction: Extraction) -> Batch | None:
        if point == "written":
            session.landing = DyingLanding(session.landing.root)
        batch = whole.extract(session, extraction)
        return die() if point == "landed" and batch is not None and batch.seq == 1 else batch

    def load(session: Session, batch: Batch) -> Any:
        loading = whole.load(session, batch)
        return die(loading.result()) if point == "loaded" and batch.seq == 1 else loading

    def close(session: Session) -> Report:
        if point == "before close":
            die()
        if point == "in close":
            session.seconds = DyingSeconds(float)
        if point == "after close":
            session.lock.release = die  # type: ignore[method-assign] (its first use is behind the commit)
        return whole.close(session)

    return replace(whole, extract=extract, load=load, close=close)


def main(name: str, strategy: str, point: str, resumes: bool = True) -> None:
    """Run, and die."""
    spec = pipeline(name, strategy, Rows(PAGES, resumes=resumes))
    if point == "refine":
        spec = replace(spec, transform=dying_transform)
    if point == "loading":
        spec = replace(spec, destination=DyingDestination(spec.destination))
    session = open_session(spec, parameters(strategy), log=LOG)
    with ThreadPoolExecutor(max_workers=2) as pool:
        walk(session, dying_stages(point, plain_stages(pool)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], resumes="cannot resume" not in sys.argv)
