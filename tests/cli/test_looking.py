"""The commands that only look: preview, list, status, quarantine; and what all commands share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Millrace, Ships

COMMANDS = [
    ["run"],
    ["preview"],
    ["list"],
    ["status"],
    ["quarantine", "list"],
    ["quarantine", "show"],
    ["check"],
    ["deploy"],
    ["up"],
    ["demo"],
    ["stop"],
]

HEAVY = """
import sys
from deployments.cli import main
try:
    main()
except SystemExit:
    print({"prefect", "pandera", "polars"} & set(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_examples(millrace: Millrace, words: list[str]) -> None:
    answer = millrace(*words, "--help")
    assert answer.code == 0
    assert f"millrace {' '.join(words)}" in answer.out.partition("Examples:")[2]
    assert "--json" in answer.out


def test_preview_shows_good_rows_and_rejects_and_writes_nothing(millrace: Millrace, ships: Ships) -> None:
    told = millrace("preview", "test_ships", "--json").json
    assert [row["name"] for row in told["good"]] == ["Rickmer", "Gorch Fock"]
    assert [(one["row"], one["raw"]["name"], one["reasons"][0]["column"]) for one in told["rejects"]] == [(2, "Raft", "masts")]
    assert "would go to quarantine" in millrace("preview", "test_ships").out
    assert millrace("status", "--json").json == []


def test_list_shows_every_pipeline(millrace: Millrace, ships: Ships) -> None:
    rows = {row["name"]: row for row in millrace("list", "--json").json}
    assert rows["nyc_flights"]["schedule"].startswith("30 * * * *")
    assert rows["test_ships"]["columns"] == {"name": "String", "masts": "Int64"}
    assert "raw.test_ships" in millrace("list").out


def test_status_of_a_fresh_state_is_kind(millrace: Millrace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = millrace("status")
    assert (answer.code, "Nothing has run here yet" in answer.out) == (0, True)
    assert not (tmp_path / "state").exists()


def test_status_has_last_run_and_open_quarantine(millrace: Millrace, ships: Ships) -> None:
    millrace("run", "test_ships")
    row = millrace("status", "--json").json[0]
    assert (row["pipeline"], row["state"], row["landed"], row["balanced"], row["open_quarantine"]) == (
        "test_ships",
        "completed",
        3,
        True,
        1,
    )
    assert "test_ships" in millrace("status").out


def test_status_of_one_tells_failures_and_what_to_do(millrace: Millrace, ships: Ships) -> None:
    ships.rewrite('page = page.with_columns(masts=pl.col("sails"))')
    millrace("run", "test_ships")
    answer = millrace("status", "test_ships")
    assert "failed" in answer.out
    assert "Command millrace run test_ships" in answer.out


def test_quarantine_is_grouped_listed_and_shown(millrace: Millrace, ships: Ships) -> None:
    millrace("run", "test_ships")
    group = millrace("quarantine", "list", "--json").json[0]
    assert (group["pipeline"], group["column"], group["records"]) == ("test_ships", "masts", 1)
    assert [row["id"] for row in millrace("quarantine", "list", "test_ships", "--records", "--json").json] == [group["example"]]
    record = millrace("quarantine", "show", str(group["example"]), "--json").json
    assert (record["raw"], record["row"]) == ({"name": "Raft", "masts": 0}, 2)
    assert record["origin"].endswith("first.jsonl")
    assert "where it came from" in millrace("quarantine", "show", str(group["example"])).out


def test_unknown_record_is_wrong_usage(millrace: Millrace, ships: Ships) -> None:
    assert millrace("quarantine", "show", "4711").code == 2


def test_check_loads_all_deployments(millrace: Millrace) -> None:
    told = millrace("check", "--json").json
    assert "nyc_flights" in told["deployments"]
    assert told["problems"] == []


def test_deploy_without_a_server_says_how_to_get_one(millrace: Millrace) -> None:
    answer = millrace("deploy", "--dry-run")
    assert answer.code == 2
    assert "No Prefect server is configured" in answer.err


def test_stop_with_nothing_running_is_fine(millrace: Millrace) -> None:
    assert millrace("stop", "--json").json["stopped"] == {"stack": False, "postgres": False}


@pytest.mark.parametrize("words", [["--help"], ["status", "--json"]], ids=" ".join)
def test_light_commands_import_nothing_heavy(ships: Ships, words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HEAVY, *words], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stderr.strip() == "set()"
