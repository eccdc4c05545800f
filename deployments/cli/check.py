"""`millrace check`: would this project deploy and load on a worker? Needs no server and changes nothing."""

from __future__ import annotations

from deployments.cli.run import AS_JSON


def check(as_json: AS_JSON = False) -> None:
    """Load every entrypoint as a worker does, and try the parameters of every schedule and trigger.

    Also reads prefect.yaml and the automations strictly: a key that Prefect would ignore is an error here.

    \b
    Examples:
      millrace check
      millrace check --json
    """
    import os

    from deployments.cli.printing import print_json, stdout
    from deployments.deploy.automations import read_automations
    from deployments.deploy.entrypoints import load_all
    from deployments.deploy.project import read_project
    from deployments.pull import project_home

    project = read_project(project_home())
    loaded = load_all(project, dict(os.environ))
    automations = read_automations(project.root / "deployments" / "automations.yaml", {})
    if as_json:
        print_json({"deployments": sorted(loaded), "automations": [one.name for one in automations], "problems": []})
        return
    out = stdout()
    for name, flow in sorted(loaded.items()):
        out.print(f"ok  {name}: {(flow.description or '').splitlines()[0] if flow.description else ''}", soft_wrap=True)
    out.print(f"{len(loaded)} deployments load as a worker loads them, {len(automations)} automations can be read.")
