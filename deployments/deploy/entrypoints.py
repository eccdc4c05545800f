"""Loading every entrypoint as a worker does, in a process of its own, and trying the parameters that schedules will pass.

Run as `python -P -m deployments.deploy.entrypoints` in the project's folder: questions as JSON on standard input, answers likewise
on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from deployments.deploy.project import Project, refuse


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the server will be told about a flow.

    Parameters
    ----------
    flow_name, description, version: as the flow declares them.
    parameter_schema: the OpenAPI schema of its run form.
    """

    flow_name: str
    description: str | None
    version: str | None
    parameter_schema: dict[str, Any]


def load_all(project: Project, environ: dict[str, str]) -> dict[str, Loaded]:
    """The flow of each deployment by the deployment's name; raises Misconfigured with all that fail to load or refuse their parameters."""
    questions = {entry["name"]: {"entrypoint": entry["entrypoint"], "calls": calls(entry)} for entry in project.entries}
    asked = subprocess.run(
        [sys.executable, "-P", "-m", "deployments.deploy.entrypoints"],
        input=json.dumps(questions), capture_output=True, text=True, cwd=project.root, env=environ, check=False,
    )  # fmt: skip
    if asked.returncode:
        refuse("The project", [f"its flows cannot be loaded: {asked.stderr.strip().splitlines()[-1:]}"])
    answers = json.loads(asked.stdout)
    refuse("prefect.yaml", [f"{name}: {problem}" for name, answer in answers.items() for problem in answer["problems"]])
    return {name: Loaded(**answer["flow"]) for name, answer in answers.items()}


def calls(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each set of parameters that the server will pass, by where it is written; templates, which events fill in, are left out."""
    own = entry.get("parameters") or {}
    found = {f"schedule {schedule['slug']}": own | (schedule.get("parameters") or {}) for schedule in entry.get("schedules") or []}
    found |= {f"trigger {trigger['name']}": own | (trigger.get("parameters") or {}) for trigger in entry.get("triggers") or []}
    if own and not found:
        found["parameters"] = own
    return {where: given for where, given in found.items() if "{{" not in json.dumps(given, default=str)}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Load one entrypoint, and try its calls; every failure becomes a sentence."""
    from prefect.flows import Flow, load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    try:
        flow: Flow[..., Any] = load_flow_from_entrypoint(question["entrypoint"], use_placeholder_flow=False)
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything, and all of it is to be shown
        return {"problems": [f"{question['entrypoint']} does not load: {type(error).__name__}: {error}"]}
    problems = []
    for where, given in question["calls"].items():
        try:
            flow.validate_parameters(given)
        except Exception as error:  # noqa: BLE001 - as above: the validators are the user's
            problems.append(f"{where}: {given} is refused: {type(error).__name__}: {error}")
    schema = parameter_schema(flow).model_dump(mode="json")
    seen = {"flow_name": flow.name, "description": flow.description, "version": flow.version, "parameter_schema": schema}
    return {"problems": problems, "flow": seen}


def main() -> None:
    """Answer all questions; what flows print while loading goes to standard error."""
    questions = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        answers = {name: answer(question) for name, question in questions.items()}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
