"""Deployments and their schedules: what the files want, what the server has, and closing the gap with Prefect's own deploy command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deployments.deploy import triggers
from deployments.deploy.compared import without_empty
from deployments.deploy.entrypoints import Loaded
from deployments.deploy.project import TAG, Project
from deployments.deploy.report import Change
from tasks.errors import Misconfigured

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule, Flow
    from prefect.client.schemas.responses import DeploymentResponse
    from pydantic import BaseModel


def ours(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """The deployments on the server that carry our mark, by `flow/deployment`."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    marked = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=marked, limit=200, offset=len(found)):
        found += page
    flows = {flow.id: flow.name for flow in every_flow(client)}
    return {f"{flows[deployment.flow_id]}/{deployment.name}": deployment for deployment in found}


def every_flow(client: SyncPrefectClient) -> Iterable[Flow]:
    """All flows that the server knows."""
    offset = 0
    while page := client.read_flows(limit=200, offset=offset):
        yield from page
        offset += len(page)


def compare(
    client: SyncPrefectClient, project: Project, loaded: Mapping[str, Loaded], server: Mapping[str, DeploymentResponse]
) -> tuple[Change, ...]:
    """One change per deployment of the files: created, updated (and what differs) or unchanged."""
    changes = []
    for entry in project.entries:
        flow = loaded[entry["name"]]
        name = f"{flow.flow_name}/{entry['name']}"
        if name not in server:
            changes.append(Change("deployment", name, "created"))
            continue
        want, have = wanted(project, entry, flow), existing(server[name], entry)
        want["triggers"], have["triggers"] = triggers.of_file(entry, server[name]), triggers.of_server(client, entry, server[name])
        if have["version"] in _versions(project, entry, flow):
            have["version"] = want["version"]
        differ = [part for part in want if want[part] != have[part]]
        changes.append(Change("deployment", name, "updated" if differ else "unchanged", ", ".join(differ)))
    return tuple(changes)


def _versions(project: Project, entry: dict[str, Any], flow: Loaded) -> set[str | None]:
    """The versions that mean the files as they are: the entry's own, else the flow's, or the commit, which Prefect takes in a clone."""
    if entry.get("version"):
        return {entry["version"]}
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, check=False)
    commit = answer.stdout.strip()
    return {flow.version, *((commit, commit[:8]) if commit else ())}


def wanted(project: Project, entry: dict[str, Any], flow: Loaded) -> dict[str, Any]:
    """What the files say of one deployment, in comparable form."""
    limit = entry.get("concurrency_limit")
    limit = limit if isinstance(limit, dict) else {"limit": limit}
    return {
        "entrypoint": entry["entrypoint"],
        "description": entry.get("description") or flow.description or "",
        "version": entry.get("version") or flow.version,
        "tags": set(entry.get("tags") or ()),
        "parameters": entry.get("parameters") or {},
        "run form": without_empty(flow.parameter_schema),
        "concurrency limit": (limit.get("limit"), limit.get("collision_strategy")),
        "work pool": (entry["work_pool"]["name"], entry["work_pool"].get("work_queue_name") or "default"),
        "job variables": entry["work_pool"].get("job_variables") or {},
        "pull steps": entry.get("pull", project.pull) or [],
        "schedules": {schedule["slug"]: of_schedule(schedule) for schedule in entry.get("schedules") or ()},
    }


def existing(deployment: DeploymentResponse, entry: dict[str, Any]) -> dict[str, Any]:
    """The same of a deployment on the server; schedules that the files do not name, and what they leave open, are not compared."""
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    slugs = {schedule["slug"]: schedule for schedule in entry.get("schedules") or ()}
    return {
        "entrypoint": deployment.entrypoint,
        "description": deployment.description or "",
        "version": deployment.version,
        "tags": set(deployment.tags),
        "parameters": deployment.parameters,
        "run form": without_empty(deployment.parameter_openapi_schema or {}),
        "concurrency limit": (limit.limit if limit else None, options.collision_strategy.value if options else None),
        "work pool": (deployment.work_pool_name, deployment.work_queue_name),
        "job variables": deployment.job_variables,
        "pull steps": deployment.pull_steps or [],
        "schedules": {one.slug: from_server(one, slugs[one.slug]) for one in deployment.schedules if one.slug in slugs},
    }


def of_schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    """A schedule of the file in the server's words."""
    from prefect.cli.deploy._schedules import _schedule_config_to_deployment_schedule

    when = _schedule_config_to_deployment_schedule({key: value for key, value in schedule.items() if value is not None})["schedule"]
    given = {"active": schedule["active"]} if "active" in schedule else {}
    return {"when": timing(when, schedule), "parameters": schedule.get("parameters") or {}} | given


def from_server(have: DeploymentSchedule, schedule: dict[str, Any]) -> dict[str, Any]:
    """A schedule of the server in comparable form; whether it is active counts only if the file says so, as a person may have paused it."""
    given = {"active": have.active} if "active" in schedule else {}
    return {"when": timing(have.schedule, schedule), "parameters": have.parameters} | given


def timing(when: BaseModel, schedule: dict[str, Any]) -> dict[str, Any]:
    """When a schedule fires; the anchor counts only if the file gives one, since Prefect fills in the present."""
    said: dict[str, Any] = when.model_dump(mode="json", exclude=set() if "anchor_date" in schedule else {"anchor_date"})
    return said | {"timezone": said.get("timezone") or "UTC"}


def run_prefect_deploy(project: Project, names: Iterable[str], environ: Mapping[str, str]) -> None:
    """`prefect deploy` these deployments; raises Misconfigured with what Prefect says when it stops."""
    picked = [part for name in names for part in ("--name", name.partition("/")[2])]
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "prefect.yaml", *picked]
    done = subprocess.run(command, cwd=project.root, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())
        raise Misconfigured(
            f"`prefect deploy` stopped: {said[-600:]}", do="Correct prefect.yaml and deploy again; what came before the stop is deployed"
        )


def orphans(project: Project, loaded: Mapping[str, Loaded], server: Mapping[str, DeploymentResponse]) -> tuple[Change, ...]:
    """Deployments with our mark, and slugged schedules of ours, that the files no longer name."""
    entries = {f"{loaded[entry['name']].flow_name}/{entry['name']}": entry for entry in project.entries}
    gone = tuple(Change("deployment", name, "orphaned") for name in sorted(server.keys() - entries.keys()))
    return gone + tuple(
        Change("schedule", f"{name}#{schedule.slug}", "orphaned", "still fires" if schedule.active else "paused")
        for name in sorted(server.keys() & entries.keys())
        for schedule in server[name].schedules
        if schedule.slug and schedule.slug not in {one["slug"] for one in entries[name].get("schedules") or ()}
    )


def prune(client: SyncPrefectClient, orphan: Change, server: Mapping[str, DeploymentResponse]) -> None:
    """Delete an orphaned deployment or schedule from the server."""
    name, _, slug = orphan.name.partition("#")
    if not slug:
        client.delete_deployment(server[name].id)
        return
    schedule = next(one for one in server[name].schedules if one.slug == slug)
    client.delete_deployment_schedule(server[name].id, schedule.id)
