"""The steps of one deploy, in their order: each compares, writes if it may, and says what it did."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.deploy import automations, deployments, pools, saved_blocks, triggers
from deployments.deploy.automations import Wanted
from deployments.deploy.channels import CHANNELS
from deployments.deploy.report import Change

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.orchestration import SyncPrefectClient

    from deployments.deploy.entrypoints import Loaded
    from deployments.deploy.project import Project


@dataclass
class Deploy:
    """One deploy in progress.

    Parameters
    ----------
    client: of the server. project, loaded: the checked files. wanted: the blocks of the environment.
    write: False for a dry run.
    """

    client: SyncPrefectClient
    project: Project
    loaded: Mapping[str, Loaded]
    wanted: Mapping[str, Block]
    write: bool
    channels: dict[str, UUID] = field(default_factory=dict)

    def pools(self) -> tuple[Change, ...]:
        """Create the work pools that are missing."""
        changes = pools.missing_pools(self.client, self.project)
        for change in self._todo(changes):
            pools.create_pool(self.client, change.name)
        return changes

    def blocks(self) -> tuple[Change, ...]:
        """Save the blocks of the environment that are new or differ."""
        changes = saved_blocks.compare_blocks(self.client, self.wanted)
        for change in self._todo(changes):
            saved_blocks.save(self.wanted, change.name)
        return changes

    def deployments(self) -> tuple[Change, ...]:
        """Deploy what is new or differs, and leave the rest untouched."""
        server = deployments.ours(self.client)
        changes = deployments.compare(self.client, self.project, self.loaded, server)
        if todo := [change.name for change in self._todo(changes)]:
            entries = {name: next(entry for entry in self.project.entries if name.endswith(f"/{entry['name']}")) for name in todo}
            off = {name: triggers.switched_off(self.client, entries[name], server[name]) for name in todo if name in server}
            environ = os.environ | {"PREFECT_API_URL": str(self.client.api_url).rstrip("/")}
            deployments.run_prefect_deploy(self.project, todo, environ)
            for name, names in off.items():
                triggers.switch_off(self.client, entries[name], server[name], names)
        return changes

    def automations(self) -> tuple[Change, ...]:
        """Create or update the automations of the file."""
        self.channels = automations.existing_channels(self.client)
        if not self.write:  # blocks that a real deploy would have saved by now stand for themselves
            self.channels |= {name: UUID(int=0) for name in CHANNELS if name in self.wanted and name not in self.channels}
        server = automations.ours(self.client)
        changes = automations.compare(self._automations, server)
        for change in self._todo(changes):
            core = next(one.core for one in self._automations if one.name == change.name)
            if core is not None:
                automations.apply(self.client, core, server)
        return changes

    def orphans(self) -> tuple[Change, ...]:
        """What carries our mark and is no longer in the files."""
        mine = deployments.ours(self.client)
        return deployments.orphans(self.project, self.loaded, mine) + automations.orphans(self._automations, automations.ours(self.client))

    def prune(self, orphan: Change) -> Change:
        """Delete one orphan, and say so."""
        if orphan.kind == "automation":
            self.client.delete_automation(automations.ours(self.client)[orphan.name].id)
        else:
            deployments.prune(self.client, orphan, deployments.ours(self.client))
        return replace(orphan, action="pruned")

    @cached_property
    def _automations(self) -> tuple[Wanted, ...]:
        return automations.read_automations(self.project.root / "deployments" / "automations.yaml", self.channels, self.project.pools())

    def _todo(self, changes: tuple[Change, ...]) -> list[Change]:
        return [change for change in changes if change.action in ("created", "updated")] if self.write else []
