"""The pull step of every deployment: a worker starts a flow run in an empty folder, and this takes it home."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.errors import Misconfigured


def enter_project() -> dict[str, str]:
    """Make the project's folder the working directory of the flow run, whichever folder its worker was started in.

    The project is where `prefect.yaml` is: MILLRACE_HOME if set (containers), else the checkout that this package is installed from.

    Raises
    ------
    Misconfigured: neither holds a `prefect.yaml`.
    """
    home = project_home()
    os.chdir(home)
    return {"directory": str(home)}


def project_home() -> Path:
    """The project's folder; see `enter_project`."""
    chosen = os.environ.get("MILLRACE_HOME")
    home = Path(chosen).expanduser() if chosen else Path(__file__).resolve().parents[1]
    if not (home / "prefect.yaml").is_file():
        raise Misconfigured(
            "The project's folder has no prefect.yaml",
            do="Set MILLRACE_HOME on the worker to the folder that has it",
            setting="MILLRACE_HOME",
            value=str(home),
        )
    return home.resolve()
