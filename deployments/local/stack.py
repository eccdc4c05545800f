"""Starting and stopping the local stack from the process that wants it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deployments.local import found
from deployments.local.processes import sweep
from tasks.errors import MillraceError, Misconfigured, Transient

POOL = "local"
START_PATIENCE = 270.0  # seconds: above the supervisor's own, so that its message arrives first
STOP_PATIENCE = 30.0  # seconds: flow runs, worker and server each have their own, shorter, inside


@dataclass(frozen=True, slots=True)
class Stack:
    """A running local stack.

    Parameters
    ----------
    url: the Prefect API.
    ui_url: the address for a browser.
    env: the environment for subprocesses that are to talk to it (`prefect`, `millrace`, dbt).
    since: when it started, UTC; a worker's older sign of life is from an earlier stack.
    pool: the work pool that the worker serves.
    """

    url: str
    ui_url: str
    env: dict[str, str]
    since: datetime
    pool: str = POOL

    def wait_for_worker(self, timeout: float = 90.0) -> None:
        """Return when a worker of the pool is online; raises Transient after `timeout` seconds."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self._workers_online():
                return
            time.sleep(0.3)
        log = found.home(Path(self.env["MILLRACE_STATE"])) / "worker.log"
        raise Transient(f"No worker of pool {self.pool!r} came online in {timeout:.0f} s", do=f"Read {log}, then start the stack again")

    @contextmanager
    def use(self) -> Iterator[None]:
        """Point this process at the stack: its environment, and Prefect's settings when Prefect is imported already; undone on exit."""
        before = dict(os.environ)
        mine = {name: value for name, value in self.env.items() if name.startswith("PREFECT_")} | {
            "MILLRACE_STATE": self.env["MILLRACE_STATE"]
        }
        for name in [name for name in before if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ.update(mine)
        try:
            with self._prefect_settings():
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _prefect_settings(self) -> AbstractContextManager[object]:
        if "prefect" not in sys.modules:  # then it reads the environment when it is imported
            return nullcontext()
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings

        home = found.home(Path(self.env["MILLRACE_STATE"]))
        return temporary_settings({PREFECT_API_URL: self.url, PREFECT_UI_URL: self.ui_url, PREFECT_HOME: home})

    def _workers_online(self) -> bool:
        request = urllib.request.Request(  # noqa: S310 - our own loopback URL
            f"{self.url}/work_pools/{self.pool}/workers/filter", data=b"{}", headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
                seen = [
                    datetime.fromisoformat(worker["last_heartbeat_time"]) for worker in json.load(answer) if worker["last_heartbeat_time"]
                ]
                return any(heartbeat > self.since for heartbeat in seen)
        except OSError:  # 404 until the worker has made its pool
            return False


@contextmanager
def local_stack(
    state: Path, *, worker: bool = True, settings: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A Prefect server (healthy on entry) and a process worker (coming up; see `Stack.wait_for_worker`), gone on exit.

    Nothing of it outlives this process, however it ends, and nothing is written outside `state`.

    Parameters
    ----------
    state: the state folder; the stack lives in `<state>/prefect`.
    worker: whether flow runs are to be executed too.
    settings: Prefect settings for server, worker and flow runs, over the defaults, such as
        `{"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false"}`.
    environ: the environment that they inherit, by default this process's; the user's PREFECT_ settings are left out.

    Raises
    ------
    Misconfigured: a stack already runs on this state folder.
    Transient: the server did not come up.
    """
    inherited = dict(os.environ if environ is None else environ)
    state = state.resolve()
    since = datetime.now(UTC)
    supervisor = _start(state, worker, dict(settings or {}), inherited)
    try:
        server = _ready(supervisor, state)
        yield Stack(server.url, server.ui_url, found.client_env(state, server, inherited), since)
    finally:
        _stop(supervisor, state)


def stop_local(state: Path) -> bool:
    """Take down the stack that another process started on this state folder; False when none runs."""
    server = found.read(state)
    if server is None or not found.supervised(state):
        return False
    os.kill(server.pid, signal.SIGTERM)
    until = time.monotonic() + STOP_PATIENCE
    while found.supervised(state):
        if time.monotonic() > until:
            raise Transient(
                f"The local stack (process {server.pid}) did not stop in {STOP_PATIENCE:.0f} s", do=f"End it with: kill -9 {server.pid}"
            )
        time.sleep(0.1)
    return True


def _start(state: Path, worker: bool, settings: dict[str, str], environ: dict[str, str]) -> subprocess.Popen[str]:
    home = found.home(state)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "deployments.local.supervisor"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environ, start_new_session=True,
        )  # fmt: skip
    assert supervisor.stdin is not None  # noqa: S101 - PIPE was asked for
    supervisor.stdin.write(json.dumps({"state": str(state), "pool": POOL, "worker": worker, "settings": settings}) + "\n")
    supervisor.stdin.flush()
    return supervisor


def _ready(supervisor: subprocess.Popen[str], state: Path) -> found.LocalServer:
    assert supervisor.stdout is not None  # noqa: S101 - PIPE was asked for
    heard, _, _ = select.select([supervisor.stdout], [], [], START_PATIENCE)
    line = supervisor.stdout.readline() if heard else ""
    news = (
        json.loads(line)
        if line
        else {"event": "failed", "what": "the supervisor said nothing", "log": str(found.home(state) / "supervisor.log")}
    )
    if news.pop("event") == "ready":
        return found.LocalServer(**news)
    raise _not_started(news, state)


def _not_started(news: dict[str, str], state: Path) -> MillraceError:
    if "what" in news:
        return Transient(f"The local Prefect stack did not start: {news['what']}", do=f"Read {news['log']} and try again")
    running = found.read(state)
    return Misconfigured(
        "A local stack already runs on this state folder",
        do="Use it, or stop it first (Ctrl-C where it was started), or choose another folder with MILLRACE_STATE",
        setting="MILLRACE_STATE",
        value=running.ui_url if running else str(state),
    )


def _stop(supervisor: subprocess.Popen[str], state: Path) -> None:
    """Cut the lifeline and wait; a second Ctrl-C hurries it, and still nothing is left."""
    mark = server.mark if (server := found.read(state)) and server.pid == supervisor.pid else None
    try:
        if supervisor.stdin is not None:
            supervisor.stdin.close()
        supervisor.wait(STOP_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        supervisor.kill()
        supervisor.wait()
    finally:
        if supervisor.stdout is not None:
            supervisor.stdout.close()
        if mark:
            sweep(mark, polite=0)
