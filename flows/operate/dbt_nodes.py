"""What became of each dbt node: read from dbt's results, and turned into a table and an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.errors import BadData

FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Node:
    """One model, test, unit test or source of a dbt run.

    Parameters
    ----------
    kind, name: as dbt calls it.
    status: dbt's word: success, pass, warn, fail, error, skipped, …
    seconds: how long dbt worked on it.
    failures: rows that a test found, where it counts them.
    message: what dbt said, in one line.
    """

    kind: str
    name: str
    status: str
    seconds: float
    failures: int | None
    message: str

    @property
    def failed(self) -> bool:
        """Whether it must fail the run."""
        return self.status in FAILED

    def row(self) -> dict[str, Any]:
        """As a row of the run's table."""
        return {
            "node": self.name,
            "kind": self.kind,
            "status": self.status,
            "seconds": round(self.seconds, 2),
            "failures": self.failures,
            "message": self.message,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.message or self.status})"


def nodes_of(results: object) -> list[Node]:
    """The nodes of a dbt result (of `build` or of `source freshness`); none where dbt had nothing to do."""
    return [
        Node(
            kind=str(result.node.resource_type).replace("_", " "),
            name=result.node.name,
            status=str(result.status),
            seconds=result.execution_time,
            failures=result.failures if isinstance(result.failures, int) else None,
            message=_said(result),
        )
        for result in getattr(results, "results", ())
    ]


def _said(result: object) -> str:
    """dbt's message in one line; of a source's freshness, when its data came."""
    came = getattr(result, "max_loaded_at", None)
    return f"last loaded {came:%Y-%m-%d %H:%M %Z}" if came else " ".join((getattr(result, "message", None) or "").split())


def raise_for(nodes: list[Node]) -> None:
    """Raise BadData that names the failed nodes; the first few with what dbt said."""
    failed = [node for node in nodes if node.failed]
    if not failed:
        return
    skipped = sum(node.status == "skipped" for node in nodes)
    more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    left = f"; {skipped} that depend on them were skipped" if skipped else ""
    raise BadData(
        f"{len(failed)} of {len(nodes)} dbt nodes failed: {'; '.join(map(str, failed[:SHOWN]))}{more}{left}",
        do="Repair the data or the model that is named, then run dbt_build again; the table `dbt-build` of this run lists every node",
    )
