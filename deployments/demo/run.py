"""The whole demo: stage set, everything synced and modelled, everything synced again and found unchanged, nothing left running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blocks.warehouse import Warehouse, find_warehouse
from deployments.demo.queries import last_runs, mart_head, quarantine_examples
from deployments.demo.scene import Scene, scene
from deployments.demo.steps import Steps
from deployments.demo.syncing import DBT, FLIGHTS, PIPELINES, REFERENCE, follow_up, runs_of, sync


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo has to show.

    Parameters
    ----------
    first, second: the run of each pipeline in both rounds, as the ledger's `run_log` has them.
    quarantine: one record for each reason. mart: the head of one. steps: names and seconds, in the order of their ends.
    """

    ui_url: str
    seconds: float
    steps: list[tuple[str, float]]
    first: list[dict[str, Any]]
    second: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]
    mart: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Plain data, moments and decimals as they are."""
        return asdict(self)

    @property
    def unchanged(self) -> bool:
        """Whether the second round loaded nothing, and everything adds up."""
        return all(run["inserted"] == run["updated"] == run["deleted"] == 0 and run["balanced"] for run in self.second)


def run_demo(state: Path, say: Callable[[str, float], None], first_round: Callable[[Scene, Shown], None]) -> Shown:
    """Play the demo to its end.

    Parameters
    ----------
    state: the folder that everything is kept in. say: told each step and its seconds.
    first_round: shown the results of the first round while the second is still to come.

    Raises
    ------
    MillraceError: a part did not start, or a run did not complete.
    """
    steps = Steps(say)
    with scene(state, steps, schedules=False) as stage, stage.stack.use():
        warehouse = find_warehouse()
        sync_all(stage, steps)
        shown = _looked_at(stage, warehouse, steps, [])
        first_round(stage, shown)
        sync_again(stage, steps)
        second = last_runs(warehouse, PIPELINES)
        shown = _looked_at(stage, warehouse, steps, second, first=shown.first)
        begun = steps.begin()
    steps.end("Everything stopped, nothing left running", begun)
    return Shown(**{**asdict(shown), "steps": steps.done, "seconds": steps.total})


def sync_all(stage: Scene, steps: Steps) -> None:
    """Run what the flights refer to, side by side, then the flights; dbt follows by event."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        built = runs_of(client, DBT)
        with steps.step("Planes, airports, airlines and weather synced side by side"):
            sync(client, REFERENCE)
        with steps.step("Flights synced"):
            sync(client, [FLIGHTS])
        with steps.step("dbt models built and tested, started by the flights' event"):
            follow_up(client, DBT, built)


def sync_again(stage: Scene, steps: Steps) -> None:
    """Read every source once more from its beginning."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        built = runs_of(client, DBT)
        with steps.step("Everything synced a second time, side by side, read in full"):
            sync(client, PIPELINES, full_refresh=True)
        with steps.step("dbt models built and tested again"):
            follow_up(client, DBT, built)


def _looked_at(
    stage: Scene, warehouse: Warehouse, steps: Steps, second: list[dict[str, Any]], first: list[dict[str, Any]] | None = None
) -> Shown:
    return Shown(
        ui_url=stage.stack.ui_url,
        seconds=steps.total,
        steps=steps.done,
        first=last_runs(warehouse, PIPELINES) if first is None else first,
        second=second,
        quarantine=quarantine_examples(warehouse),
        mart=mart_head(warehouse),
    )


def ready(stage: Scene, steps: Steps) -> list[dict[str, Any]]:
    """Sync everything where nothing has run yet; the last run of each pipeline."""
    from tasks.ledger.schema import version

    with stage.stack.use():
        warehouse = find_warehouse()
        if version(warehouse) is None or len(last_runs(warehouse, PIPELINES)) < len(PIPELINES):
            sync_all(stage, steps)
        return last_runs(warehouse, PIPELINES)
