"""Automations from deployments/automations.yaml, applied by name; names of blocks in the file become ids here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml

from deployments.deploy.channels import CHANNELS
from deployments.deploy.compared import plain
from deployments.deploy.project import refuse, unknown
from deployments.deploy.report import Change
from tasks.errors import Misconfigured

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

PREFIX = "millrace-"
"""The mark of our automations; nothing without it is ever changed or pruned."""

KEYS = {"name", "description", "enabled", "trigger", "notify", "actions"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One automation of the file.

    Parameters
    ----------
    name: it starts with our prefix. core: what Prefect is told; None while it has nobody to notify and nothing else to do.
    """

    name: str
    core: AutomationCore | None


def read_automations(file: Path, channels: Mapping[str, UUID], pools: Collection[str] = ()) -> tuple[Wanted, ...]:
    """The automations of a file; raises Misconfigured with all that is wrong.

    Parameters
    ----------
    channels: `notify` is written out for each of these notification blocks.
    pools: names of our work pools, which `$pools` stands for; none given, it stands for every pool.
    """
    try:
        raw = yaml.safe_load(file.read_text())["automations"]
    except FileNotFoundError:
        return ()  # a project without automations is none the worse
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise Misconfigured(f"{file.name} is not a list of `automations:`: {error!r}", do="Correct the file") from None
    wanted: list[Wanted] = []
    problems: list[str] = []
    for one in raw:
        problems += unknown(str(one.get("name")), one, KEYS)
        if not str(one.get("name")).startswith(PREFIX):
            problems.append(f"the name {one.get('name')!r} does not start with {PREFIX!r}")
        try:
            wanted.append(Wanted(one["name"], built(one, channels, pools)))
        except ValueError as error:
            problems.append(f"{one.get('name')}: {' '.join(str(error).split())}")
    refuse(file.name, problems)
    return tuple(wanted)


def built(one: dict[str, Any], channels: Mapping[str, UUID], pools: Collection[str] = ()) -> AutomationCore | None:
    """What Prefect is told of one automation; `enabled` only if the file says so, since a person may have switched it off."""
    from prefect.events.schemas.automations import AutomationCore

    notices = (
        [{"type": "send-notification", "block_document_id": id_, **one["notify"]} for id_ in channels.values()] if "notify" in one else []
    )
    actions = [*(one.get("actions") or []), *notices]
    if not actions:
        return None
    match = {key: (sorted(pools) or "*") if value == "$pools" else value for key, value in one["trigger"].get("match", {}).items()}
    said = {key: one[key] for key in ("name", "description", "enabled", "trigger") if key in one}
    said["trigger"] = one["trigger"] | {"match": match}
    return AutomationCore.model_validate(said | {"actions": actions})


def existing_channels(client: SyncPrefectClient) -> dict[str, UUID]:
    """The notification blocks of ours that are on the server, with their ids."""
    from prefect.exceptions import ObjectNotFound

    found = {}
    for channel in CHANNELS:
        slug, _, name = channel.partition("/")
        try:
            found[channel] = client.read_block_document_by_name(name, slug, include_secrets=False).id
        except ObjectNotFound:
            continue  # not configured: the report says who waits for it
    return found


def ours(client: SyncPrefectClient) -> dict[str, Automation]:
    """The automations on the server whose name has our prefix."""
    return {one.name: one for one in client.read_automations() if one.name.startswith(PREFIX)}


def compare(wanted: Iterable[Wanted], server: Mapping[str, Automation]) -> tuple[Change, ...]:
    """One change per automation of the file."""
    changes = []
    for one in wanted:
        if one.core is None:
            changes.append(Change("automation", one.name, "waiting", "nobody to notify"))
        elif one.name not in server:
            changes.append(Change("automation", one.name, "created"))
        else:
            differ = _differing(one.core, server[one.name])
            changes.append(Change("automation", one.name, "updated" if differ else "unchanged", ", ".join(differ)))
    return tuple(changes)


def apply(client: SyncPrefectClient, core: AutomationCore, server: Mapping[str, Automation]) -> None:
    """Create or update one automation by its name."""
    if core.name in server:
        client.update_automation(server[core.name].id, core)
    else:
        client.create_automation(core)


def orphans(wanted: Collection[Wanted], server: Mapping[str, Automation]) -> tuple[Change, ...]:
    """Automations with our prefix that the file no longer names, or that have nobody left to notify."""
    kept = {one.name for one in wanted if one.core}
    return tuple(Change("automation", name, "orphaned") for name in sorted(server.keys() - kept))


def _differing(core: AutomationCore, have: Automation) -> list[str]:
    want = core.model_dump(mode="json", exclude_unset=True, include={"description", "enabled"})
    differ = [key for key, value in want.items() if getattr(have, key) != value]
    differ += ["trigger"] if plain(core.trigger) != plain(have.trigger) else []
    return differ + (["actions"] if [plain(a) for a in core.actions] != [plain(a) for a in have.actions] else [])
