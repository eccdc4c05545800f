"""prefect.yaml is read strictly, and every problem is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy import _models as prefect_models

from deployments.deploy import project
from tasks.errors import Misconfigured

GOOD: dict[str, Any] = {
    "name": "orders",
    "entrypoint": "flows.orders.orders",
    "tags": ["millrace"],
    "schedules": [{"slug": "hourly", "cron": "5 * * * *", "timezone": "UTC"}],
    "work_pool": {"name": "local"},
}


def read(folder: Path, *entries: dict[str, Any], **top: Any) -> project.Project:
    (folder / "prefect.yaml").write_text(yaml.safe_dump({"name": "mill", "deployments": list(entries), **top}))
    return project.read_project(folder)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).pools() == {"local"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"schedulez": []}, "unknown key 'schedulez'", id="unknown-key"),
        pytest.param({"work_pool": {"name": "local", "queue": "x"}}, "unknown key 'queue'", id="unknown-pool-key"),
        pytest.param({"concurrency_limit": {"max": 1}}, "unknown key 'max'", id="unknown-limit-key"),
        pytest.param({"entrypoint": "flows/orders.py:orders"}, "not dotted", id="path-entrypoint"),
        pytest.param({"tags": ["nightly"]}, "tag 'millrace' is missing", id="no-mark"),
        pytest.param({"work_pool": None}, "no work_pool name", id="no-pool"),
        pytest.param({"schedule": {"cron": "* * * * *"}}, "use `schedules`", id="old-schedule"),
        pytest.param({"schedules": [{"cron": "* * * * *"}]}, "no slug", id="no-slug"),
        pytest.param(
            {"schedules": [{"slug": "a", "cron": "1 * * * *"}, {"slug": "a", "cron": "2 * * * *"}]}, "two schedules", id="slug-twice"
        ),
        pytest.param({"triggers": [{"name": "after lunch"}]}, "starts with 'orders '", id="trigger-name"),
        pytest.param(
            {"work_pool": {"name": "local", "job_variables": {"env": {"T": "{{ prefect.blocks.secret.t }}"}}}}, "readably", id="secret"
        ),
    ],
)
def test_a_problem_is_refused_by_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match="orders") as error:
        read(tmp_path, GOOD | change)
    assert said in str(error.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as error:
        read(tmp_path, GOOD | {"tags": []}, GOOD | {"schedulez": []}, automations=[])
    assert all(said in str(error.value) for said in ("tag 'millrace'", "schedulez", "automations", "two deployments are called"))


def test_a_block_in_a_pull_step_is_no_problem(tmp_path: Path) -> None:
    read(tmp_path, GOOD | {"pull": [{"prefect.deployments.steps.git_clone": {"access_token": "{{ prefect.blocks.secret.t }}"}}]})


def test_broken_yaml_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments: [")
    with pytest.raises(Misconfigured, match="not YAML"):
        project.read_project(tmp_path)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(project.DEPLOYMENT, prefect_models.DeploymentConfig, id="deployment"),
        pytest.param(project.POOL, prefect_models.WorkPoolConfig, id="work-pool"),
        pytest.param(project.LIMIT, prefect_models.ConcurrencyLimitSpec, id="limit"),
        pytest.param(project.SCHEDULE, prefect_models.RawScheduleConfig, id="schedule"),
    ],
)
def test_known_keys_are_those_that_prefect_knows(ours: set[str], theirs: Any) -> None:
    assert ours == set(theirs.model_fields)
