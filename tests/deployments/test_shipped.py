"""What is shipped fits together: prefect.yaml and flows both ways, triggers and events, automations and Prefect."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deployments.deploy.automations import read_automations
from deployments.deploy.channels import CHANNELS
from deployments.deploy.entrypoints import load_all
from deployments.deploy.project import Project, read_project

ROOT = Path(__file__).parents[2]
AUTOMATIONS = ROOT / "deployments" / "automations.yaml"


@pytest.fixture(scope="module")
def project() -> Project:
    return read_project(ROOT)


def flow_files() -> Iterator[str]:
    """Dotted entrypoints of the functions under flows/ that are decorated as a flow or a pipeline."""
    for file in ROOT.glob("flows/**/*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else []
            if any(ast.unparse(decorator).partition("(")[0] in ("flow", "pipeline") for decorator in decorators):
                yield f"{module}.{node.name}"


def test_each_flow_has_one_deployment_and_each_deployment_a_flow(project: Project) -> None:
    assert sorted(entry["entrypoint"] for entry in project.entries) == sorted(flow_files())


def test_a_deployment_is_named_as_its_flow(project: Project, tmp_path: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    flows = load_all(project, bare)
    assert {name: flow.flow_name for name, flow in flows.items()} == {name: name for name in flows}
    assert all(flow.description for flow in flows.values())
    assert [*tmp_path.glob("**/*.db")] == []


def test_runs_of_one_pipeline_take_turns(project: Project) -> None:
    limits = {entry["name"]: entry.get("concurrency_limit") for entry in project.entries if "operate" not in entry["tags"]}
    assert all(limit == {"limit": 1, "collision_strategy": "ENQUEUE"} for limit in limits.values()), limits


def test_triggers_wait_for_what_pipelines_say(project: Project) -> None:
    names = {entry["name"] for entry in project.entries}
    said = "".join(file.read_text() for file in ROOT.glob("flows/*.py"))
    for trigger in (trigger for entry in project.entries for trigger in entry.get("triggers") or ()):
        assert trigger["match"]["prefect.resource.id"].removeprefix("millrace.pipeline.") in names
        assert all(event in said for event in trigger["expect"])


def test_each_automation_tells_every_channel_or_acts_by_itself() -> None:
    automations = read_automations(AUTOMATIONS, {channel: uuid4() for channel in CHANNELS})
    assert {one.name.removeprefix("millrace-") for one in automations} == {
        "run-failed", "run-late", "run-stuck", "run-zombie", "pool-not-ready",
    }  # fmt: skip
    told = {one.name: len(one.core.actions) for one in automations if one.core}
    assert told.pop("millrace-run-zombie") == 1
    assert set(told.values()) == {len(CHANNELS)}


def test_with_nobody_to_notify_only_what_mends_is_left() -> None:
    assert [one.name for one in read_automations(AUTOMATIONS, {}) if one.core] == ["millrace-run-zombie"]


def test_a_zombie_has_missed_three_heartbeats() -> None:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    text = AUTOMATIONS.read_text().partition("millrace-run-zombie")[2]
    within = re.search(r"within: (\d+)", text)
    assert within
    assert int(within[1]) >= 3 * int(PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value())
