"""A run killed at any point and run again gives what an uninterrupted run gives (L2): table, quarantine, checkpoint, ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from blocks.warehouse import Warehouse
from tasks.engine.plain import run_plainly
from tests.engine.conftest import Ask
from tests.engine.dying import PAGES, POINTS, STRATEGIES, parameters, pipeline
from tests.engine.memory import Rows

ROOT = Path(__file__).parents[2]
SHORT = {"append": ("landed", "loading", "loaded", "in close"), "refresh": ("loading", "in close")}
"""Strategies that share their other points with `upsert` and `replace`."""


def killed(name: str, strategy: str, point: str, *more: str) -> None:
    """Run in a process of its own, which kills itself."""
    command = [sys.executable, "-m", "tests.engine.dying", name, strategy, point, *more]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"POLARS_MAX_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def run(name: str, strategy: str, *, resumes: bool = True) -> None:
    assert run_plainly(pipeline(name, strategy, Rows(PAGES, resumes=resumes)), parameters(strategy)).counts.balanced


def left(ask: Ask, name: str) -> dict[str, Any]:
    """All that a run leaves, without ids and times."""
    counts = "landed, derived, inserted, updated, unchanged, duplicate, filtered, quarantined, deleted, warned"
    run_ids = "SELECT id FROM ledger.run WHERE pipeline = %s"
    return {
        "table": ask(f"SELECT id, name, v, _row, _hash FROM raw.{name} ORDER BY 1, 2, 3, 4"),
        "quarantine": ask("SELECT raw::text, errors, status FROM ledger.quarantine WHERE pipeline = %s ORDER BY 1", name),
        "checkpoint": ask("SELECT position -> 'cursor', position -> 'resume' FROM ledger.checkpoint WHERE pipeline = %s", name),
        "runs": ask(
            f"SELECT state, cursor_from, cursor_to, {counts}, bytes, digest, alerts FROM ledger.run WHERE pipeline = %s ORDER BY id", name
        ),
        "batches": ask(
            f"SELECT state, digest, {counts} FROM ledger.batch WHERE pipeline = %s AND state <> 'discarded' ORDER BY run_id, seq", name
        ),
        "schema": ask("SELECT version, columns FROM ledger.source_schema WHERE pipeline = %s ORDER BY 1", name),
        "drift": ask("SELECT kind, column_name FROM ledger.drift WHERE pipeline = %s ORDER BY 1", name),
        "running": ask(f"SELECT number FROM ledger.attempt WHERE run_id IN ({run_ids}) AND outcome = 'running'", name),
    }


@pytest.fixture
def oracle(shared: Warehouse, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What so many uninterrupted runs of a strategy leave."""

    @cache
    def whole(strategy: str, runs: int = 1) -> dict[str, Any]:
        name = f"whole_{strategy}_{runs}_{os.getpid()}_{len(list(tmp_path_factory.getbasetemp().iterdir()))}"
        for _ in range(runs):
            run(name, strategy)
        return left(ask, name)

    return whole


CASES = [(point, strategy) for strategy in STRATEGIES for point in POINTS if strategy not in SHORT or point in SHORT[strategy]]


@pytest.mark.parametrize(("point", "strategy"), CASES)
def test_killed_run_leaves_what_a_whole_run_leaves(point: str, strategy: str, name: str, ask: Ask, oracle: Any) -> None:
    killed(name, strategy, point)
    run(name, strategy)
    assert left(ask, name) == oracle(strategy, 2 if point == "after close" else 1)


@pytest.mark.parametrize("strategy", ["append", "replace"])
def test_run_killed_three_times_leaves_what_a_whole_run_leaves(strategy: str, name: str, ask: Ask, oracle: Any) -> None:
    for point in ("loaded", "loading" if strategy == "append" else "before close", "in close"):
        killed(name, strategy, point)
    run(name, strategy)
    assert left(ask, name) == oracle(strategy)


@pytest.mark.parametrize(("point", "strategy"), [("landed", "append"), ("loaded", "append"), ("loaded", "replace")])
def test_source_that_cannot_read_on_is_read_again_and_nothing_is_doubled(
    point: str, strategy: str, name: str, ask: Ask, oracle: Any
) -> None:
    killed(name, strategy, point, "cannot resume")
    run(name, strategy, resumes=False)
    found, expected = left(ask, name), oracle(strategy)
    assert {part: found[part] for part in expected if part != "runs"} == {part: expected[part] for part in expected if part != "runs"}
    assert [row[3:14] for row in found["runs"]] == [row[3:14] for row in expected["runs"]]


def test_keyed_rows_that_are_read_again_come_out_unchanged(name: str, ask: Ask, oracle: Any) -> None:
    killed(name, "upsert", "loaded", "cannot resume")
    run(name, "upsert", resumes=False)
    rows = [row[:3] for row in left(ask, name)["table"]]
    assert rows == [row[:3] for row in oracle("upsert")["table"]]


def test_checkpoint_stays_until_the_run_is_complete(name: str, ask: Ask) -> None:
    run(name, "upsert")
    before = ask("SELECT position ->> 'cursor' FROM ledger.checkpoint WHERE pipeline = %s", name)
    killed(name, "upsert", "loaded")
    assert ask("SELECT position ->> 'cursor' FROM ledger.checkpoint WHERE pipeline = %s", name) == before


def test_what_a_dead_attempt_wrote_and_did_not_register_is_swept(name: str, shared: Warehouse, tmp_path: Path) -> None:
    killed(name, "upsert", "written")
    run(name, "upsert")
    assert sorted(path.name for path in (tmp_path / "state" / "landing" / name).rglob("*.parquet")) == [
        "000000-1.parquet",
        "000001-2.parquet",
        "000002-2.parquet",
    ]
