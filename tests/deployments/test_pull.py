"""Where a flow run finds its project."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.pull import enter_project, project_home
from tasks.errors import Misconfigured


def test_a_run_enters_the_folder_of_prefect_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.chdir("/")
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    assert enter_project() == {"directory": str(Path.cwd())} == {"directory": str(tmp_path)}


def test_without_a_setting_it_is_the_checkout() -> None:
    assert (project_home() / "flows" / "__init__.py").is_file()


def test_a_folder_without_prefect_yaml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    with pytest.raises(Misconfigured, match="MILLRACE_HOME"):
        enter_project()
