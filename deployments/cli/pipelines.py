"""Finding pipelines by name: every file of `flows/` is one."""

from __future__ import annotations

import difflib
import importlib.util
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.errors import Misconfigured

if TYPE_CHECKING:
    from flows._pipeline import PipelineFlow


def names() -> list[str]:
    """Names of the pipeline files, without importing one."""
    spec = importlib.util.find_spec("flows")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    return sorted({file.stem for folder in folders for file in folder.glob("*.py") if not file.stem.startswith("_")})


def load(name: str) -> PipelineFlow:
    """The flow of a pipeline.

    Raises
    ------
    Misconfigured: there is no such file (close names are given), it cannot be imported, or it holds no pipeline of its own name.
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        have = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(known) or 'none'}"
        raise Misconfigured("There is no pipeline of this name", do=f"{have} See `millrace list`", setting="NAME", value=name)
    try:
        module = import_module(f"flows.{name}")
    except Misconfigured as error:
        raise error.at(pipeline=name) from error
    except Exception as error:
        raise Misconfigured(
            f"flows/{name}.py cannot be imported: {type(error).__name__}: {error}",
            do="Correct the file, then see `millrace check`",
            pipeline=name,
        ) from error
    from flows import spec_of

    try:
        made: PipelineFlow = getattr(module, name)
        spec_of(made)
    except (AttributeError, TypeError) as error:
        raise Misconfigured(
            f"flows/{name}.py holds no pipeline that is called as the file",
            do=f"Decorate a function `{name}` with @pipeline",
            setting="NAME",
            value=name,
        ) from error
    return made


def schedules() -> dict[str, str]:
    """Pipeline name → its schedules in prefect.yaml, for people; empty where there is no such file."""
    import yaml

    from blocks.settings import project_root

    file = project_root() / "prefect.yaml"
    entries: list[dict[str, Any]] = (yaml.safe_load(file.read_text()) or {}).get("deployments") or [] if file.is_file() else []
    return {
        str(entry.get("entrypoint", "")).rpartition(".")[2]: ", ".join(map(_schedule, entry.get("schedules") or [])) for entry in entries
    }


def _schedule(entry: dict[str, Any]) -> str:
    every = entry.get("cron") or entry.get("rrule") or f"every {entry.get('interval')}"
    return f"{every} {entry.get('timezone', 'UTC')}{'' if entry.get('active', True) else ' (off)'}"
