"""One writer per pipeline (L6), and an attempt that lost its lock writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.warehouse import Warehouse
from tasks.engine.closing import close_session, fail_session
from tasks.engine.extracting import Extraction
from tasks.engine.loading import load_batch
from tasks.engine.opening import open_session
from tasks.engine.plain import LOG, plain_stages, run_plainly
from tasks.engine.session import Parameters, Session
from tasks.engine.walk import Pending, walk
from tasks.errors import MillraceError, Transient
from tasks.ledger.lock import Lock
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page, things

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec(name: str, shared: Warehouse) -> Pipeline:
    return things(Rows([page((1, "a", 1)), page((2, "b", 2))]), Upsert(f"raw.{name}", key=("id",)), name, batch_rows=1)


def opened(spec: Pipeline) -> Session:
    return open_session(spec, Parameters(), log=LOG)


def test_second_run_ends_and_names_the_holder(spec: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(spec)
    monkeypatch.setenv("MILLRACE_LOCK_WAIT", "0")
    with pytest.raises(Transient, match=rf"Another run of this pipeline is writing: run {first.run.id}, on .* process {os.getpid()}"):
        run_plainly(spec)
    first.lock.release()


def test_second_run_waits_and_says_for_whom(shared: Warehouse, name: str) -> None:
    first, second, said = Lock(shared, name), Lock(shared, name), list[str]()
    first.acquire(0, said.append)

    def told(line: str) -> None:
        said.append(line)
        first.release()

    second.acquire(30, told)
    second.release()
    assert len(said) == 1
    assert said[0].startswith(f"waiting for another run of {name}")


def test_different_pipelines_do_not_wait_for_each_other(shared: Warehouse, name: str) -> None:
    locks = [Lock(shared, name), Lock(shared, f"{name}_other"), Lock(shared, f"{name}_third", whole_table=True)]
    for lock in locks:
        lock.acquire(0, str)
    for lock in locks:
        lock.release()


def test_swap_of_the_table_excludes_every_window(shared: Warehouse, name: str) -> None:
    windows = [Lock(shared, name, "2020"), Lock(shared, name, "2021")]
    for lock in windows:
        lock.acquire(0, str)
    with pytest.raises(Transient):
        Lock(shared, name, whole_table=True).acquire(0, str)
    for lock in windows:
        lock.release()


def test_killed_holder_frees_the_lock(shared: Warehouse, name: str) -> None:
    lines = ("import os", "from blocks.warehouse import find_warehouse", "from tasks.ledger.lock import Lock")
    code = "\n".join([*lines, f"lock = Lock(find_warehouse(), {name!r})", "lock.acquire(0, str)", "os.kill(os.getpid(), 9)"])
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    lock = Lock(shared, name)
    lock.acquire(30, str)
    lock.release()


def test_stopped_run_is_failed_and_gives_its_lock_back(name: str, shared: Warehouse, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    pages = [page((1, "a", 1)), page((2, "b", 2))]
    monkeypatch.setenv("MILLRACE_LOCK_WAIT", "0")
    with pytest.raises(KeyboardInterrupt):
        run_plainly(things(Rows(pages, before=stopped), name=name, batch_rows=1))
    said = ask("SELECT state, failure ->> 'message' FROM ledger.run WHERE pipeline = %s", name)
    assert said == [("failed", "The run was stopped from outside (KeyboardInterrupt): cancelled, or its worker was shut down")]
    assert run_plainly(things(Rows(pages), name=name, batch_rows=1)).counts.landed == 2


class CalledAway:
    """A load whose first waiting is interrupted, as by a signal, while the load goes on."""

    def __init__(self, inner: Pending) -> None:
        self._inner, self._away = inner, False

    def result(self) -> Any:
        if not self._away:
            self._away = True
            raise KeyboardInterrupt
        return self._inner.result()


def test_stopped_run_waits_for_the_load_that_runs(spec: Pipeline, ask: Ask) -> None:
    session = opened(spec)
    with ThreadPoolExecutor(2) as pool:
        stages = plain_stages(pool)
        away = replace(stages, load=lambda session, batch: CalledAway(stages.load(session, batch)))
        with pytest.raises(KeyboardInterrupt) as stop:
            walk(session, away)
    fail_session(session, stop.value, "walk")
    assert ask("SELECT state FROM ledger.run WHERE pipeline = %s", spec.name) == [("failed",)]
    assert run_plainly(spec).counts.landed == 2
    assert ask(f"SELECT id FROM {spec.destination.table} ORDER BY 1") == [(1,), (2,)]


def overtaken(spec: Pipeline) -> tuple[Session, Extraction]:
    """A session whose lock was lost, and whose run another attempt has completed a part of."""
    session = opened(spec)
    extraction = Extraction(session)
    session.lock.release()
    return session, extraction


def test_overtaken_attempt_cannot_load(spec: Pipeline, ask: Ask) -> None:
    stale, extraction = overtaken(spec)
    batch = extraction.next_batch()
    stale.gate.expect(0)
    newer = opened(spec)
    with pytest.raises(MillraceError, match="lost its lock and another took over: the run is now attempt 2, running"):
        load_batch(stale, batch)
    assert ask(f"SELECT count(*) FROM {spec.destination.table}") == [(0,)]
    newer.lock.release()


def test_overtaken_attempt_cannot_land(spec: Pipeline) -> None:
    _, extraction = overtaken(spec)
    newer = opened(spec)
    with pytest.raises(MillraceError, match="lost its lock"):
        extraction.next_batch()
    newer.lock.release()
    assert run_plainly(spec).counts.balanced


def test_overtaken_attempt_cannot_close_or_fail_the_run(spec: Pipeline, ask: Ask) -> None:
    stale, _ = overtaken(spec)
    newer = opened(spec)
    with pytest.raises(MillraceError, match="lost its lock") as lost:
        close_session(stale)
    fail_session(stale, lost.value, "close")
    assert ask("SELECT state, attempts FROM ledger.run WHERE pipeline = %s", spec.name) == [("running", 2)]
    newer.lock.release()


def test_attempt_of_a_run_that_a_full_refresh_gave_up_cannot_write(spec: Pipeline) -> None:
    stale, extraction = overtaken(spec)
    run_plainly(spec, Parameters(full_refresh=True))
    with pytest.raises(MillraceError, match="the run is now attempt 1, abandoned"):
        extraction.next_batch()
    stale.lock.release()
