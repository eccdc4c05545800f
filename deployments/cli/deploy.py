"""`millrace deploy`: make the Prefect server equal to the project's files."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.run import AS_JSON


def deploy(
    prune: Annotated[bool, typer.Option("--prune", help="Delete what carries our mark and is no longer in the files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and compare; change nothing.")] = False,
    as_json: AS_JSON = False,
) -> None:
    """Deploy work pools, blocks from the environment, deployments with schedules, and automations; twice is once.

    \b
    Examples:
      millrace deploy --dry-run
      millrace deploy
      millrace deploy --prune
    """
    from dataclasses import asdict

    from deployments.cli.printing import print_json, stdout
    from deployments.cli.server import use_server

    url = use_server()
    from deployments.deploy import deploy as make_equal

    report = make_equal(url=url, prune=prune, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
        return
    out = stdout()
    for line in report.lines():
        out.print(line, soft_wrap=True)
    if dry_run:
        out.print("Nothing was changed.")
