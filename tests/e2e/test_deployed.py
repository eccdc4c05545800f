"""A real server and worker: what is deployed runs, fails loudly, and stays as people left it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.deploy import deploy
from tests.e2e.conftest import Mill, Sinks, eventually

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("mill")


def test_a_schedule_starts_a_run_in_the_projects_folder(mill: Mill) -> None:
    done = {"state": {"type": {"any_": ["COMPLETED"]}}}
    run = eventually(lambda: [run for run in mill.runs("ticking", **done) if run["auto_scheduled"]])[0]
    assert run["parameters"] == {"word": "tock"}
    logs = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
    eventually(lambda: f"{mill.project} tock" in [line["message"] for line in mill.get("logs/filter", logs)], 30)


def test_a_failed_run_reaches_webhook_and_mail(mill: Mill, sinks: Sinks) -> None:
    run = mill.start("breaking")

    def about(notices: list[Any]) -> list[str]:
        return [text for text in map(str, notices) if run["name"] in text]

    for notices in (sinks.posts, sinks.mails):
        text = eventually(lambda notices=notices: about(notices))[0]
        assert "breaking: Failed" in text
        assert "the mill stream is dry" in text
        assert f"{mill.stack.ui_url}/runs/flow-run/{run['id']}" in text
    assert (len(about(sinks.posts)), len(about(sinks.mails))) == (1, 1)


def test_an_event_starts_the_deployment_that_waits_for_it(mill: Mill) -> None:
    event = {"id": "0" * 31 + "1", "occurred": "2026-01-01T00:00:00Z", "event": "mill.hush", "resource": {"prefect.resource.id": "mill"}}
    mill.get("events", [event])
    eventually(lambda: mill.runs("sleeping", state={"type": {"any_": ["RUNNING"]}}))


def test_deploying_again_changes_nothing(mill: Mill) -> None:
    before = mill.automations()
    report = deploy(mill.project, url=mill.stack.url)
    assert report.of("created", "updated") == ()
    assert mill.automations() == before


def test_what_people_switched_off_stays_off(mill: Mill, tmp_path: Path) -> None:
    off = mill.deployment("sleeping")
    nightly = next(one for one in mill.deployment("ticking")["schedules"] if one["slug"] == "nightly")
    hush = next(one for one in mill.automations() if one["name"] == "sleeping after a hush")
    late = next(one for one in mill.automations() if one["name"] == "millrace-run-late")
    httpx.patch(f"{mill.stack.url}/deployments/{mill.deployment('ticking')['id']}/schedules/{nightly['id']}", json={"active": False})
    for one in (hush, late):
        httpx.patch(f"{mill.stack.url}/automations/{one['id']}", json={"enabled": False})
    changed = mill.variant(tmp_path, lambda text: text.replace("tags: [millrace]", "tags: [millrace, changed]"))
    report = deploy(changed, url=mill.stack.url)
    assert {change.name for change in report.of("updated")} == {"ticking/ticking", "breaking/breaking", "sleeping/sleeping"}
    assert {one["slug"]: one["active"] for one in mill.deployment("ticking")["schedules"]}["nightly"] is False
    assert {one["name"] for one in mill.automations() if not one["enabled"]} == {"sleeping after a hush", "millrace-run-late"}
    for one in (next(one for one in mill.automations() if one["name"] == hush["name"]), late):
        httpx.patch(f"{mill.stack.url}/automations/{one['id']}", json={"enabled": True})
    assert off["id"] == mill.deployment("sleeping")["id"]


def test_orphans_are_reported_and_pruned_only_when_asked(mill: Mill, tmp_path: Path) -> None:
    more = "- name: extra\n  entrypoint: mill.ticking.ticking\n  tags: [millrace]\n  work_pool: *pool\n"
    twice = '  - {slug: weekly, cron: "5 4 * * 0", timezone: UTC}\n  concurrency_limit:'
    deploy(mill.variant(tmp_path, lambda text: text.replace("  concurrency_limit:", twice) + "\n" + more), url=mill.stack.url)
    flow_id = mill.deployment("ticking")["flow_id"]
    mill.get("deployments", {"name": "foreign", "flow_id": flow_id})
    gone = {"ticking/extra", "ticking/ticking#weekly"}
    assert gone <= {change.name for change in deploy(mill.project, url=mill.stack.url).of("orphaned")}
    assert gone <= {change.name for change in deploy(mill.project, url=mill.stack.url, prune=True).of("pruned")}
    assert gone.isdisjoint(change.name for change in deploy(mill.project, url=mill.stack.url, dry_run=True).of("orphaned"))
    assert mill.get("deployments/name/ticking/foreign")["name"] == "foreign"
    assert "weekly" not in {one["slug"] for one in mill.deployment("ticking")["schedules"]}


def test_a_dry_run_writes_nothing(mill: Mill, tmp_path: Path) -> None:
    more = "\n- name: dry\n  entrypoint: mill.ticking.ticking\n  tags: [millrace]\n  work_pool: *pool\n"
    report = deploy(mill.variant(tmp_path, lambda text: text + more), url=mill.stack.url, dry_run=True)
    assert [change.name for change in report.of("created")] == ["ticking/dry"]
    with pytest.raises(httpx.HTTPStatusError):
        mill.get("deployments/name/ticking/dry")


def test_the_shipped_file_deploys_with_prefects_own_command(mill: Mill) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, env=mill.stack.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert deploy(ROOT, url=mill.stack.url, dry_run=True).of("created", "updated") == ()
