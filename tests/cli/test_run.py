"""`millrace run`: what it prints, what it returns, and how it tells a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.warehouse import Warehouse
from tasks.engine import retrying
from tests.cli.conftest import Millrace, Ships


def test_run_prints_counts_and_balance(millrace: Millrace, ships: Ships) -> None:
    answer = millrace("run", "test_ships")
    assert answer.code == 0
    assert "balance" in answer.out
    assert "1 records are in quarantine: millrace quarantine list test_ships" in answer.out
    assert "running plainly" in answer.err


def test_second_run_finds_all_unchanged(millrace: Millrace, ships: Ships) -> None:
    assert millrace("run", "test_ships", "--json").json["inserted"] == 2
    again = millrace("run", "test_ships", "--full-refresh", "--json").json
    assert (again["landed"], again["unchanged"], again["quarantined"], again["balanced"]) == (3, 2, 1, True)


def test_dry_run_writes_nothing(millrace: Millrace, ships: Ships, warehouse: Warehouse) -> None:
    answer = millrace("run", "test_ships", "--dry-run", "--json")
    assert (answer.code, answer.json["inserted"], answer.json["dry_run"]) == (0, 2, True)
    with warehouse.connect() as conn:
        assert conn.execute("SELECT to_regclass('raw.test_ships')").fetchone() == (None,)


def test_unknown_name_is_answered_with_close_ones(millrace: Millrace, ships: Ships) -> None:
    answer = millrace("run", "test_shps")
    assert answer.code == 2
    assert "Did you mean test_ships" in answer.err


def test_failing_transform_is_told_in_one_block(millrace: Millrace, ships: Ships) -> None:
    ships.rewrite('page = page.with_columns(masts=pl.col("sails"))')
    answer = millrace("run", "test_ships")
    assert answer.code == 1
    assert "BadData: The transform failed" in answer.err
    assert "millrace preview test_ships" in answer.err
    assert "Traceback" not in answer.err


def test_broken_pipeline_file_is_misconfigured(millrace: Millrace, ships: Ships) -> None:
    ships.rewrite(top="import nowhere_to_be_found")
    answer = millrace("run", "test_ships", "--json")
    assert answer.code == 2
    assert "nowhere_to_be_found" in answer.json["error"]["what"]


def test_warehouse_that_does_not_answer_is_worth_another_try(millrace: Millrace, ships: Ships, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", "postgresql://me:secret@127.0.0.1:9/none")
    monkeypatch.setattr(retrying, "FIRST_DELAY_SECONDS", 0.0)
    answer = millrace("run", "test_ships")
    assert answer.code == 3
    assert "secret" not in answer.err


def test_prefect_server_that_does_not_answer_is_worth_another_try(
    millrace: Millrace, ships: Ships, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    answer = millrace("run", "test_ships", "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (3, "Transient")


def test_date_that_is_none_is_wrong_usage(millrace: Millrace, ships: Ships) -> None:
    answer = millrace("run", "test_ships", "--start-date", "yesterday")
    assert answer.code == 2
    assert "2013-01-31" in answer.err


def test_inside_a_server_the_run_is_recorded_there(millrace: Millrace, ships: Ships, prefect_api: str) -> None:
    answer = millrace("run", "test_ships", "--json")
    assert (answer.code, answer.json["inserted"]) == (0, 2)
    assert "/runs/flow-run/" in answer.err


def test_json_log_lines_carry_run_and_pipeline(ships: Ships) -> None:
    done = _shell(ships, "run", "test_ships", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["pipeline"] for line in lines} == {"test_ships"}
    assert {line["run"] for line in lines} == {1}
    assert 1 in {line.get("batch") for line in lines}
    assert done.returncode == 0


def test_interrupted_run_exits_130_and_goes_on_later(ships: Ships, millrace: Millrace, tmp_path: Path) -> None:
    ships.rewrite(f'import pathlib, time; pathlib.Path("{tmp_path}/begun").touch(); time.sleep(60)')
    child = subprocess.Popen(_words(ships, "run", "test_ships"), env=_environ(), stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    ships.rewrite()
    assert "goes on from there" in child.communicate()[1]
    assert child.returncode == 130
    assert millrace("run", "test_ships", "--json").json["inserted"] == 2


def _shell(ships: Ships, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_words(ships, *words), env=_environ(), capture_output=True, text=True, check=False)


def _words(ships: Ships, *words: str) -> list[str]:
    code = "import signal, sys, flows; signal.signal(signal.SIGINT, signal.default_int_handler); flows.__path__.append(sys.argv.pop(1))"
    return [sys.executable, "-c", f"{code}; from deployments.cli import main; main()", str(ships.flows), *words]


def _environ() -> dict[str, str]:
    return dict(os.environ)
