"""The demo's own parts; the whole of it is played by `make demo`."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from deployments.demo.run import Shown
from deployments.demo.scene import _environment, _stoppable
from deployments.demo.steps import Steps

RUN = {"inserted": 0, "updated": 0, "deleted": 0, "balanced": True}
SHOWN = Shown("", 0.0, [], [], [RUN], [], [])


def test_the_users_own_systems_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", "postgresql://production")
    monkeypatch.setenv("MILLRACE_SLACK_URL", "https://hooks.slack.test/x")
    with _environment({"MILLRACE_API_NYC_URL": "http://127.0.0.1:1"}):
        left = {name for name in os.environ if name.startswith(("MILLRACE_WAREHOUSE", "MILLRACE_SLACK", "MILLRACE_API"))}
    assert left == {"MILLRACE_API_NYC_URL"}
    assert os.environ["MILLRACE_WAREHOUSE_URL"] == "postgresql://production"


def test_sigterm_ends_it_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), _stoppable():
        signal.raise_signal(signal.SIGTERM)


def test_a_second_round_that_loads_anything_is_seen() -> None:
    assert SHOWN.unchanged
    assert not replace(SHOWN, second=[RUN | {"updated": 1}]).unchanged
    assert not replace(SHOWN, second=[RUN | {"balanced": False}]).unchanged


def test_steps_are_told_in_order_with_seconds() -> None:
    told: list[str] = []
    steps = Steps(lambda name, seconds: told.append(f"{name} {seconds:.0f}"))
    with steps.step("first"):
        pass
    with pytest.raises(RuntimeError), steps.step("broken"):
        raise RuntimeError
    assert told == ["first 0"]
