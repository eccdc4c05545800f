"""The deploy itself: check everything, compare, and only then change the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.deploy.report import Report
from deployments.pull import project_home
from tasks.errors import Misconfigured, Transient

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NOBODY = "nobody will be notified of failures: set MILLRACE_SLACK_URL, or MILLRACE_ALERT_EMAIL with MILLRACE_SMTP_URL, and deploy again"


def deploy(project: Path | None = None, *, url: str | None = None, prune: bool = False, dry_run: bool = False) -> Report:
    """Make a Prefect server equal to a project's files: work pools, blocks from the environment, deployments with schedules, automations.

    Running it twice changes nothing the second time. What a person paused in the UI stays paused. Only what carries our mark (tag
    `millrace`, prefix `millrace-`, schedules with a slug on our deployments) is ever changed.

    Parameters
    ----------
    project: the folder with prefect.yaml and deployments/automations.yaml; default as in `deployments.pull`.
    url: the Prefect API; default is the one that Prefect itself is configured with.
    prune: delete what carries our mark and is no longer in the files; otherwise it is reported as orphaned.
    dry_run: check and compare, change nothing.

    Raises
    ------
    Misconfigured: a file, an entrypoint, a parameter or a variable is wrong (all are named; nothing was changed),
        or no server is configured.
    Transient: the server does not answer.
    """
    from deployments.deploy.entrypoints import load_all
    from deployments.deploy.project import read_project
    from deployments.deploy.saved_blocks import wanted_blocks

    files = read_project((project or project_home()).resolve())
    loaded = load_all(files, dict(os.environ))
    blocks = wanted_blocks()
    with _server(url) as client:
        from deployments.deploy.steps import Deploy

        run = Deploy(client, files, loaded, blocks, write=not dry_run)
        changes = [*run.pools(), *run.blocks(), *run.deployments(), *run.automations()]
        left = [*run.orphans()]
        if prune and not dry_run:
            left = [run.prune(orphan) for orphan in left]
        return Report((*changes, *left), applied=not dry_run, warnings=() if run.channels else (NOBODY,))


@contextmanager
def _server(url: str | None) -> Iterator[SyncPrefectClient]:
    """A client of the server, and Prefect's settings pointed at it for what makes its own clients."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    at = url or PREFECT_API_URL.value()
    if not at:
        raise Misconfigured(
            "No Prefect server is configured", do="Set PREFECT_API_URL, or start a local one with `make up`", setting="PREFECT_API_URL"
        )
    try:
        with temporary_settings({PREFECT_API_URL: at}), get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise Transient(
            f"The Prefect server does not answer: {type(error).__name__}", do="Check that it runs and PREFECT_API_URL is right", value=at
        ) from error
