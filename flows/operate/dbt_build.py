"""Build and test the dbt models over the loaded tables, each node as a task of the run, and fail when a test fails."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from blocks.settings import project_root, settings
from blocks.warehouse import find_warehouse
from flows.operate.dbt_nodes import Node, nodes_of, raise_for
from tasks.errors import Misconfigured

if TYPE_CHECKING:
    from prefect_dbt import PrefectDbtRunner

_RUNNING = threading.Lock()
"""dbt keeps its flags and adapters in globals: two builds in one process would mix."""


def _run_name() -> str:
    """What the run is called: what it builds, when that is not everything."""
    return " ".join(["dbt build", flow_run.parameters.get("select") or ""]).strip()


@flow(name="dbt_build", flow_run_name=_run_name)
def dbt_build(select: str | None = None, full_refresh: bool = False, source_freshness: bool = True) -> dict[str, int]:
    """Build and test the dbt models; a failed model, test or stale source fails the run and is named in its message.

    Args:
        select: Which models and tests, in dbt's words, such as `marts` or `stg_nyc__flights+`. Everything when left out.
        full_refresh: Rebuild incremental models from nothing.
        source_freshness: Also check when each source was last loaded.
    """
    build = ["build", *_options(select, full_refresh)]
    freshness = ["source", "freshness", *_options(select if select and "source:" in select else None)]
    with _alone(), _environment(_warehouse_env()):
        runner = _runner()
        nodes = _invoke(runner, build)
        if source_freshness:
            nodes += _invoke(runner, freshness)
    report(nodes)
    raise_for(nodes)
    return dict(Counter(node.status for node in nodes))


def report(nodes: list[Node]) -> None:
    """Write the run's table: every node with status and seconds, what went wrong first."""
    rows = [node.row() for node in sorted(nodes, key=lambda node: (not node.failed, node.status != "warn", -node.seconds))]
    counts = ", ".join(f"{count} {status}" for status, count in Counter(node.status for node in nodes).most_common())
    create_table_artifact(key="dbt-build", table=rows, description=f"dbt build: {counts}")


def _runner() -> PrefectDbtRunner:
    """A runner whose every output lies in the state folder."""
    from dbt_common.events.base_types import EventLevel
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

    project = project_root() / "dbt"
    if not (project / "dbt_project.yml").is_file():
        raise Misconfigured(
            "There is no dbt project here", do="Run from the project's folder, the one that holds prefect.yaml", value=str(project)
        )
    paths = PrefectDbtSettings(
        project_dir=project, profiles_dir=project, target_path=settings().state / "dbt" / "target", log_level=EventLevel(_level())
    )
    return PrefectDbtRunner(settings=paths, raise_on_failure=False)


def _level() -> str:
    """What dbt logs to the run: warnings and worse, as each node is a task of its own already; all of it when debugging."""
    return "debug" if settings().log_level == "DEBUG" else "warn"


def _invoke(runner: PrefectDbtRunner, arguments: list[str]) -> list[Node]:
    """Run one dbt command to its end; raises Misconfigured when dbt could not start it."""
    try:
        result: Any = runner.invoke(arguments, log_path=str(settings().state / "dbt" / "logs"), log_level_file="info")
    except ValueError as error:
        raise Misconfigured(
            f"dbt could not run: {error}", do="Correct the model or setting that it names, then run dbt_build again"
        ) from error
    finally:
        _await_tasks()
    return nodes_of(result.result)


def _await_tasks() -> None:
    """Wait for the threads that report nodes as tasks: the runner leaves them behind, and a process that ends meanwhile aborts."""
    for thread in threading.enumerate():
        if thread.name.endswith("(run_task)"):
            thread.join(timeout=60)


def _options(select: str | None, full_refresh: bool = False) -> list[str]:
    words = (select or "").split()
    if any(word.startswith("-") for word in words):
        raise Misconfigured(
            "`select` takes names of models and tests, not options", do="Leave the dash away", setting="select", value=select
        )
    return [*(["--select", *words] if words else []), *(["--full-refresh"] if full_refresh else [])]


def _warehouse_env() -> dict[str, str]:
    """The warehouse for dbt's profile, after one connection that proves it, so that a wrong one is explained in our words."""
    warehouse = find_warehouse()
    with warehouse.connect(application_name="millrace dbt"):
        return warehouse.dbt_env()


@contextmanager
def _alone() -> Generator[None, None, None]:
    if not _RUNNING.acquire(blocking=False):
        raise Misconfigured(
            "Another dbt build runs in this process", do="Wait for it, or run this one as a deployment, in a process of its own"
        )
    try:
        yield
    finally:
        _RUNNING.release()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None, None, None]:
    """Set environment variables for a while; dbt reads its profile from them, in this process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
