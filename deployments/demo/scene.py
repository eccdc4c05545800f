"""The stage of the demo: PostgreSQL with a source database, files, a REST API, and a Prefect server with everything deployed."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psycopg

from blocks.embedded import Server, create_database, ensure
from blocks.embedded import stop as stop_postgres
from deployments.demo.database import DATABASE, fill_source
from deployments.demo.files import write_flight_files
from deployments.demo.standin import StandIn, standin
from deployments.demo.steps import Steps
from deployments.local import Stack, local_stack

FOREIGN = ("MILLRACE_WAREHOUSE_", "MILLRACE_API_", "MILLRACE_ALERT_", "MILLRACE_SLACK_URL", "MILLRACE_SMTP_URL", "MILLRACE_LANDING")
"""Settings of the user's own systems, which the demo must neither write to nor notify."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs while the demo plays.

    Parameters
    ----------
    state: the folder that all of it is kept in. stack: Prefect server and worker. postgres: warehouse and source databases. weather: the REST API.
    """

    state: Path
    stack: Stack
    postgres: Server
    weather: StandIn


@contextmanager
def scene(state: Path, steps: Steps, *, schedules: bool) -> Generator[Scene, None, None]:
    """Set the stage, with everything deployed and the worker online; on exit nothing of it is left running.

    Parameters
    ----------
    schedules: whether the deployments' schedules make runs; the demo starts its runs itself.

    Raises
    ------
    Misconfigured: a stack already runs on this state folder, or the demo's data is not installed.
    Transient: a part of it did not come up.
    """
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "1"} | ({} if schedules else {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false"})
    with _stoppable(), _environment({"MILLRACE_STATE": str(state)}), ThreadPoolExecutor(1) as aside:
        try:
            preparing = aside.submit(_prepare, state, steps)
            begun = steps.begin()
            token = secrets.token_urlsafe(24)
            with local_stack(state, settings=settings) as stack, standin(token) as weather:
                steps.end("Prefect server answers", begun)
                postgres = preparing.result()
                with postgres.connect("postgres", application_name="millrace demo"):  # while we hold it, it does not stop as idle
                    with steps.step("Pool, blocks, deployments and automations deployed"):
                        _deploy(stack, postgres, weather, token)
                    with steps.step("Worker is online"):
                        stack.wait_for_worker()
                    yield Scene(state, stack, postgres, weather)
        finally:
            stop_postgres(state)


def _prepare(state: Path, steps: Steps) -> Server:
    """The data on its three roads; what is there already stays."""
    begun = steps.begin()
    write_flight_files(state)
    server = ensure(state)
    with suppress(psycopg.errors.DuplicateDatabase):
        create_database(server, DATABASE)
    with server.connect(DATABASE, application_name="millrace demo") as conn:
        fill_source(conn)
    steps.end("PostgreSQL runs, source database and files are there", begun)
    return server


def _deploy(stack: Stack, postgres: Server, weather: StandIn, token: str) -> None:
    """Deploy as a user does, with the addresses and secrets of the demo's sources in the environment, from where they become blocks."""
    from deployments.deploy import deploy

    login = f"{postgres.user}:{postgres.password.get_secret_value()}"
    source = f"postgresql://{login}@{postgres.host}:{postgres.port}/{DATABASE}?sslmode=disable"
    sources = {"MILLRACE_API_NYC_URL": weather.url, "MILLRACE_API_NYC_TOKEN": token, "MILLRACE_WAREHOUSE_NYC_SOURCE_URL": source}
    with stack.use(), _environment(sources):
        deploy(url=stack.url)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """This process's environment without the user's own systems and with these variables, for a while."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(FOREIGN) and name not in changes]:
        del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does, so that whatever was started is stopped."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {signum: signal.signal(signum, interrupt) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
