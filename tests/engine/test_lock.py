"""One writer per pipeline (L6), and an attempt that lost its lock writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.warehouse import Warehouse
from tasks.engine.closing import close_session, fail_session
from tasks.engine.extracting import Extraction
from tasks.engine.loading import load_batch
from tasks.engine.opening import open_session
from tasks.engine.plain import LOG, run_plainly
from tasks.engine.session import Parameters, Session
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
