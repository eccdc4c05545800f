"""The work pools that the deployments name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from deployments.deploy.project import Project
from deployments.deploy.report import Change

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def missing_pools(client: SyncPrefectClient, project: Project) -> tuple[Change, ...]:
    """One change per pool of the files; one that exists is left as it is, whatever its type."""
    there = {pool.name for pool in client.read_work_pools()}
    return tuple(Change("work pool", name, "unchanged" if name in there else "created") for name in sorted(project.pools()))


def create_pool(client: SyncPrefectClient, name: str) -> None:
    """A pool for process workers; deployments to containers make theirs before, and it is then left alone."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    # A worker that starts at this moment makes its pool itself: whoever comes second finds what it wanted.
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template), overwrite=False)
