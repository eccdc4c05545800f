"""Entrypoints are loaded as a worker loads them, and the parameters of their schedules are tried, before anything is deployed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from deployments.deploy.entrypoints import load_all
from deployments.deploy.project import Project
from tasks.errors import Misconfigured

MILL = Path(__file__).parents[1] / "e2e" / "project"


def load(**entry: Any) -> dict[str, Any]:
    return load_all(Project(MILL, ({"name": "ticking", "entrypoint": "mill.ticking.ticking"} | entry,), None), dict(os.environ))


def test_a_flow_is_described() -> None:
    assert load()["ticking"].description == "Say a word, some times."


def test_all_that_is_wrong_is_named_at_once() -> None:
    schedules = [{"slug": "wrong", "parameters": {"times": "many"}}, {"slug": "strange", "parameters": {"wrd": "tock"}}]
    with pytest.raises(Misconfigured) as error:
        load(schedules=schedules)
    assert all(said in str(error.value) for said in ("schedule wrong", "times", "schedule strange", "wrd"))


def test_a_missing_module_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"mill\.gone.*does not load"):
        load(entrypoint="mill.gone.gone")
