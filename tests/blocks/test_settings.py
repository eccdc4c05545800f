"""Settings are read from the environment at each call."""

from __future__ import annotations

import pytest

from blocks.errors import Misconfigured
from blocks.settings import Settings, settings


def test_state_lies_beside_the_nearest_prefect_yaml(monkeypatch, tmp_path):
    monkeypatch.delenv("MILLRACE_STATE")
    below = tmp_path / "project" / "flows" / "operate"
    below.mkdir(parents=True)
    (tmp_path / "project" / "prefect.yaml").write_text("")
    monkeypatch.chdir(below)
    assert settings().state == tmp_path / "project" / ".millrace"
    assert settings().landing == str(tmp_path / "project" / ".millrace" / "landing")


def test_state_without_a_project_lies_here(monkeypatch, tmp_path):
    monkeypatch.delenv("MILLRACE_STATE")
    monkeypatch.chdir(tmp_path)
    assert settings().state == tmp_path / ".millrace"


def test_each_call_reads_the_environment(monkeypatch):
    assert settings().batch_rows == 250_000
    monkeypatch.setenv("MILLRACE_BATCH_ROWS", "10")
    assert settings().batch_rows == 10


def test_relative_state_is_fixed_to_where_it_was_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLRACE_STATE", "here")
    assert settings().state == tmp_path / "here"


def test_wrong_value_names_its_variable(monkeypatch):
    monkeypatch.setenv("MILLRACE_AHEAD", "many")
    with pytest.raises(Misconfigured, match=r"MILLRACE_AHEAD.*'many'"):
        settings()


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())
