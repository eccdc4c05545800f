"""`millrace up`: PostgreSQL, Prefect server, worker and UI on the demo's data, until Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from deployments.cli.run import AS_JSON

if TYPE_CHECKING:
    from deployments.demo.scene import Scene


def up(as_json: AS_JSON = False) -> None:
    """Keep the local stack running on the demo's data, schedules on, until Ctrl-C; then nothing is left running.

    In a fresh state folder everything is synced once first. Other `millrace` commands find the server by themselves.

    \b
    Examples:
      millrace up
      MILLRACE_STATE=/tmp/millrace millrace up
    """
    from blocks.settings import settings
    from deployments.cli.demo import own_prefect, print_runs
    from deployments.cli.printing import print_json, stderr, stdout

    state = settings().state
    own_prefect(state)
    from deployments.demo.run import ready
    from deployments.demo.scene import scene
    from deployments.demo.steps import Steps

    notes = stderr() if as_json else stdout()
    running = False
    try:
        with scene(state, Steps(lambda step, seconds: notes.print(f"{seconds:6.1f} s  {step}")), schedules=True) as stage:
            runs = ready(stage, Steps(lambda step, seconds: notes.print(f"{seconds:6.1f} s  {step}")))
            running = True
            if as_json:
                print_json(_addresses(stage))
            else:
                print_runs(runs, "Last runs")
                for what, where in _addresses(stage).items():
                    notes.print(f"{what:<11} {where}", soft_wrap=True)
                notes.print("Ctrl-C ends it.")
            while True:
                signal.pause()
    except KeyboardInterrupt:
        notes.print("\nStopped; nothing is left running." if running else "\nInterrupted; nothing is left running.")


def _addresses(stage: Scene) -> dict[str, Any]:
    """Where everything is; the password stays in its file."""
    postgres = stage.postgres
    return {
        "ui": stage.stack.ui_url,
        "api": stage.stack.url,
        "postgres": f"postgresql://{postgres.user}@{postgres.host}:{postgres.port}/{postgres.database}",
        "password": str(stage.state / "postgres" / "password"),
        "weather_api": f"{stage.weather.url}/weather",
    }
