"""Starting the demo's deployments on the worker, and waiting for how they end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tasks.errors import BadData, Transient

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

REFERENCE = ("nyc_planes", "nyc_airports", "nyc_airlines", "nyc_weather")
"""What the flights refer to, and the weather: independent of each other, so they run side by side."""
FLIGHTS = "nyc_flights"
PIPELINES = (*REFERENCE, FLIGHTS)
DBT = "dbt_build"
PATIENCE = 300.0
"""Seconds that any of it may take, on a machine far slower than two cores."""


def sync(client: SyncPrefectClient, names: Sequence[str], **parameters: Any) -> None:
    """Run pipelines as deployments, side by side, and wait for all; raises BadData naming the ones that did not complete."""
    started = [client.create_flow_run_from_deployment(_deployment(client, name), parameters=parameters).id for name in names]
    _completed([_ended(client, run) for run in started])


def follow_up(client: SyncPrefectClient, name: str, known: set[UUID]) -> None:
    """Wait for a run of a deployment that an event starts, other than the known ones; raises Transient when none is started."""
    deadline = time.monotonic() + PATIENCE / 5
    while not (fresh := runs_of(client, name) - known):
        if time.monotonic() > deadline:
            raise Transient(
                f"No run of {name} was started by the event that should", do="See the automations in the Prefect UI (`make up`)"
            )
        time.sleep(0.3)
    _completed([_ended(client, run) for run in fresh])


def runs_of(client: SyncPrefectClient, name: str) -> set[UUID]:
    """Ids of the runs of a deployment."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[_deployment(client, name)]))
    return {run.id for run in client.read_flow_runs(deployment_filter=wanted)}


def _deployment(client: SyncPrefectClient, name: str) -> UUID:
    return client.read_deployment_by_name(f"{name}/{name}").id


def _ended(client: SyncPrefectClient, run: UUID) -> FlowRun:
    deadline = time.monotonic() + PATIENCE
    while not ((seen := client.read_flow_run(run)).state and seen.state.is_final()):
        if time.monotonic() > deadline:
            raise Transient(
                f"The flow run {seen.name} did not end in {PATIENCE:.0f} s", do="See its page in the Prefect UI", value=seen.state_name
            )
        time.sleep(0.3)
    return seen


def _completed(runs: Sequence[FlowRun]) -> None:
    failed = [f"{run.name} {run.state.name}: {run.state.message}" for run in runs if run.state and not run.state.is_completed()]
    if failed:
        raise BadData(
            f"{len(failed)} flow runs did not complete: {'; '.join(failed)}", do="See `millrace status` and the runs in the Prefect UI"
        )
