"""The automations that start a deployment on an event, declared beside it in prefect.yaml and owned by it on the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deployments.deploy.compared import plain

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation, AutomationCore


def misnamed(entry: dict[str, Any]) -> Iterator[str]:
    """Triggers whose name does not start with their deployment's, by which they are found again: the server does not say who owns them."""
    for trigger in entry.get("triggers") or ():
        if not str(trigger.get("name")).startswith(f"{entry.get('name')} "):
            yield f"{entry.get('name')}: name the trigger {trigger.get('name')!r} so that it starts with {str(entry.get('name')) + ' '!r}"


def of_file(entry: dict[str, Any], deployment: DeploymentResponse) -> dict[str, Any]:
    """The triggers that the file wants, by name, in comparable form."""
    from prefect.events import DeploymentTriggerTypes
    from pydantic import TypeAdapter

    found = {}
    for spec in entry.get("triggers") or ():
        trigger: Any = TypeAdapter(DeploymentTriggerTypes).validate_python(spec)
        trigger.set_deployment_id(deployment.id)
        found[spec["name"]] = _comparable(trigger.as_automation(), spec)
    return found


def of_server(client: SyncPrefectClient, entry: dict[str, Any], deployment: DeploymentResponse) -> dict[str, Any]:
    """The triggers that the server has, by name, in comparable form."""
    specs = {spec["name"]: spec for spec in entry.get("triggers") or ()}
    return {one.name: _comparable(one, specs.get(one.name, {})) for one in _owned(client, entry, deployment)}


def switched_off(client: SyncPrefectClient, entry: dict[str, Any], deployment: DeploymentResponse) -> set[str]:
    """Names of triggers that a person switched off: the file leaves it open, and the server has them off."""
    stated = {spec["name"] for spec in entry.get("triggers") or () if "enabled" in spec}
    return {one.name for one in _owned(client, entry, deployment) if not one.enabled and one.name not in stated}


def switch_off(client: SyncPrefectClient, entry: dict[str, Any], deployment: DeploymentResponse, names: set[str]) -> None:
    """Switch these off again, after Prefect made them anew."""
    for one in _owned(client, entry, deployment):
        if one.name in names:
            client.pause_automation(one.id)


def _owned(client: SyncPrefectClient, entry: dict[str, Any], deployment: DeploymentResponse) -> list[Automation]:
    related = client.read_resource_related_automations(f"prefect.deployment.{deployment.id}")
    return [one for one in related if one.name.startswith(f"{entry['name']} ")]


def _comparable(automation: AutomationCore, spec: dict[str, Any]) -> dict[str, Any]:
    stated = {"enabled": automation.enabled} if "enabled" in spec else {}
    return {"when": plain(automation.trigger), "then": [plain(action) for action in automation.actions]} | stated
