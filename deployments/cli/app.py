"""The command's table of contents."""

from __future__ import annotations

import typer

from deployments.cli.check import check
from deployments.cli.demo import demo
from deployments.cli.deploy import deploy
from deployments.cli.listing import list_pipelines
from deployments.cli.preview import preview
from deployments.cli.quarantine import quarantine
from deployments.cli.run import run
from deployments.cli.status import status
from deployments.cli.stop import stop
from deployments.cli.up import up

app = typer.Typer(
    name="millrace",
    help="""Move data between systems and account for every record.

    \b
    Examples:
      millrace demo                       see all of it work, on real data
      millrace list                       the pipelines of this project
      millrace preview nyc_planes         first rows, nothing written
      millrace run nyc_planes             one run now
      millrace status                     how every pipeline stands
      millrace quarantine list            records that broke their contract

    \b
    Exit codes: 0 done, 1 the run or the data failed, 2 wrong usage or setting,
    3 a passing failure (try again), 130 interrupted.
    """,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command("run")(run)
app.command("preview")(preview)
app.command("list")(list_pipelines)
app.command("status")(status)
app.add_typer(quarantine, name="quarantine")
app.command("check")(check)
app.command("deploy")(deploy)
app.command("up")(up)
app.command("demo")(demo)
app.command("stop")(stop)
