"""What a deploy did, or would do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Action = Literal["created", "updated", "unchanged", "orphaned", "pruned", "waiting"]


@dataclass(frozen=True, slots=True)
class Change:
    """One object on the server against the files.

    Parameters
    ----------
    kind: `work pool`, `block`, `deployment`, `schedule` or `automation`.
    name: as the server knows it; of a schedule `flow/deployment#slug`.
    action: `created` … `pruned`; `orphaned`: on the server with our mark, no longer in the files;
        `waiting`: in the files, not yet possible.
    why: which parts differ, or what it waits for.
    """

    kind: str
    name: str
    action: Action
    why: str = ""

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.action:<9} {self.kind} {self.name}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, slots=True)
class Report:
    """All changes of one deploy.

    Parameters
    ----------
    changes: in the order in which they were made.
    applied: False for a dry run, where nothing was written.
    warnings: sentences that a person should read, such as that nobody will be notified.
    """

    changes: tuple[Change, ...]
    applied: bool
    warnings: tuple[str, ...] = ()

    def of(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions."""
        return tuple(change for change in self.changes if change.action in actions)

    @property
    def clean(self) -> bool:
        """Whether the server already was equal to the files: nothing created, updated, pruned or left over."""
        return not self.of("created", "updated", "orphaned", "pruned")

    def lines(self) -> list[str]:
        """The report for a terminal."""
        return [str(change) for change in self.changes] + [f"note      {warning}" for warning in self.warnings]

    def to_json(self) -> str:
        """The report for programs."""
        return json.dumps(asdict(self))
