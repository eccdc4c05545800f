"""Reading prefect.yaml strictly: Prefect ignores keys that it does not know, so a typing error would switch something off in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deployments.deploy.triggers import misnamed
from tasks.errors import Misconfigured

TAG = "millrace"
"""The mark of our deployments; nothing without it is ever changed or pruned."""

TOP = {"prefect-version", "name", "build", "push", "pull", "deployments", "definitions"}
DEPLOYMENT = {
    "name", "version", "version_type", "tags", "description", "schedule", "schedules", "paused", "concurrency_limit", "flow_name",
    "entrypoint", "parameters", "enforce_parameter_schema", "build", "push", "pull", "work_pool", "triggers", "sla",
}  # fmt: skip
POOL = {"name", "work_queue_name", "job_variables"}
LIMIT = {"limit", "collision_strategy", "grace_period_seconds"}
SCHEDULE = {"cron", "interval", "rrule", "timezone", "anchor_date", "active", "parameters", "slug", "replaces", "day_or"}
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
SECRET = re.compile(r"\{\{\s*prefect\.blocks\.")


@dataclass(frozen=True, slots=True)
class Project:
    """The deployments of one prefect.yaml.

    Parameters
    ----------
    root: the folder of the file; entrypoints are loaded from there.
    entries: its deployments as written, anchors expanded.
    pull: the pull steps that entries without their own get.
    """

    root: Path
    entries: tuple[dict[str, Any], ...]
    pull: list[dict[str, Any]] | None

    def pools(self) -> set[str]:
        """Names of the work pools that the deployments use."""
        return {entry["work_pool"]["name"] for entry in self.entries}


def read_project(root: Path) -> Project:
    """The project of a folder; raises Misconfigured with every problem found in its prefect.yaml at once."""
    file = root / "prefect.yaml"
    try:
        raw = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise Misconfigured("There is no prefect.yaml", do="Run this in the project's folder", value=str(root)) from None
    except yaml.YAMLError as error:
        raise Misconfigured(f"prefect.yaml is not YAML: {error}", do="Correct the line named above") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("deployments"), list):
        raise Misconfigured("prefect.yaml has no list of deployments", do="Add `deployments:`", value=raw)
    refuse("prefect.yaml", [*unknown("", raw, TOP), *(problem for entry in raw["deployments"] for problem in problems(entry)), *twice(raw)])
    return Project(root, tuple(raw["deployments"]), raw.get("pull"))


def refuse(where: str, found: list[str]) -> None:
    """Raise Misconfigured naming all problems, if there are any."""
    if found:
        raise Misconfigured(f"{where} cannot be deployed: " + "; ".join(found), do="Correct the file; nothing was changed on the server")


def problems(entry: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one deployment as written, as far as the file alone can tell."""
    name = entry.get("name") or "a deployment without a name"
    yield from unknown(name, entry, DEPLOYMENT)
    yield from unknown(f"{name}, work_pool", entry.get("work_pool"), POOL)
    yield from unknown(f"{name}, concurrency_limit", entry.get("concurrency_limit"), LIMIT)
    if not DOTTED.fullmatch(str(entry.get("entrypoint"))):
        yield f"{name}: the entrypoint {entry.get('entrypoint')!r} is not dotted, as flows.orders.orders; a path would load the file twice"
    if TAG not in (entry.get("tags") or []):
        yield f"{name}: the tag {TAG!r} is missing, by which our deployments are known"
    if not (entry.get("work_pool") or {}).get("name"):
        yield f"{name}: there is no work_pool name"
    yield from of_schedules(name, entry)
    yield from misnamed(entry)
    if SECRET.search(str({key: value for key, value in entry.items() if key != "pull"})):
        yield f"{name}: a block is templated outside pull; Prefect would store the secret readably. Read the block in the flow"


def of_schedules(name: str, entry: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the schedules of one deployment."""
    if "schedule" in entry:
        yield f"{name}: use `schedules`, a list, instead of `schedule`"
    slugs = [schedule.get("slug") for schedule in entry.get("schedules") or []]
    if None in slugs:
        yield f"{name}: a schedule has no slug; without one a redeploy undoes a pause made in the UI"
    yield from (f"{name}: two schedules have the slug {slug!r}" for slug, times in Counter(slugs).items() if slug and times > 1)
    for schedule in entry.get("schedules") or []:
        yield from unknown(f"{name}, schedule {schedule.get('slug')}", schedule, SCHEDULE)


def unknown(where: str, found: object, known: set[str]) -> Iterator[str]:
    """The keys that Prefect would ignore."""
    if isinstance(found, dict):
        yield from (f"{where + ': ' if where else ''}unknown key {key!r}" for key in sorted(set(map(str, found)) - known))


def twice(raw: dict[str, Any]) -> Iterator[str]:
    """Names that two deployments share."""
    names = Counter(entry.get("name") for entry in raw["deployments"])
    yield from (f"two deployments are called {name!r}" for name, times in names.items() if times > 1)
