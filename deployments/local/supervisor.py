"""The process that keeps a local stack: starts server and worker, restarts them when they die, ends everything when its starter ends.

Run as `python -m deployments.local.supervisor` with the plan as JSON on the first line of standard input. Standard input stays open as
a lifeline: when its other end closes, for whatever reason (even kill -9), the stack is taken down. Progress goes to standard output.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from deployments.local import found
from deployments.local.processes import MARK, adopt_orphans, die_with_parent, marked, reap, sweep

SERVER_PATIENCE = 240.0  # seconds for the first start on a busy machine, migrations of its SQLite included
FLOW_RUN_PATIENCE = 8.0  # seconds for flow runs to report that they were terminated
RESTARTS = 5  # of server or worker, before the stack gives up


@dataclass(slots=True)
class Supervisor:
    """One stack: what to run, and the processes that run it."""

    state: Path
    pool: str
    worker: bool
    settings: dict[str, str]
    lifeline: IO[str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopping: bool = False
    restarts: int = 0

    def run(self) -> int:
        """Start, keep, and take down; returns the exit code."""
        home = found.home(self.state)
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "stack.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("running")
            return 3
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self.stop)
        adopt_orphans()
        os.environ[MARK] = self.mark
        try:
            return self.keep(self.server())
        finally:
            self.down()

    def server(self) -> found.LocalServer:
        """Choose the port, clear what a killed stack left, and write down where this one will be."""
        before = found.read(self.state)
        if before is not None:
            sweep(before.mark, polite=0)
        port = free_port(before.port if before else 0)
        base = f"http://127.0.0.1:{port}"
        server = found.LocalServer(url=f"{base}/api", ui_url=base, port=port, pid=os.getpid(), mark=self.mark)
        found.write(self.state, server)
        return server

    def keep(self, server: found.LocalServer) -> int:
        """Bring server and worker up and hold them until told to stop."""
        env = self.environment(server)
        if not self.started(server, env):
            return 0 if self.stopping else 1
        tell("ready", **{name: getattr(server, name) for name in server.__slots__})
        while not self.stopping:
            if self.worker and "worker" not in self.children:
                self.spawn("worker", ["worker", "start", "--pool", self.pool, "--type", "process", "--name", "local"], env)
            self.wait(1.0)
            for name in [name for name, child in self.children.items() if child.poll() is not None]:
                del self.children[name]
                self.restarts += 1
                if self.restarts > RESTARTS or (name == "server" and not self.started(server, env)):
                    tell("failed", what=f"the {name} ended {self.restarts} times", log=str(self.log(name)))
                    return 1
        return 0

    def started(self, server: found.LocalServer, env: dict[str, str]) -> bool:
        """Start the server and wait until it answers."""
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(server.port)]
        child = self.spawn("server", command, env)
        until = time.monotonic() + SERVER_PATIENCE
        while not self.stopping and child.poll() is None and time.monotonic() < until:
            if found.healthy(server.url):
                return True
            self.wait(0.2)
        if not self.stopping:
            tell("failed", what="the server did not come up", log=str(self.log("server")))
        return False

    def spawn(self, name: str, command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start `prefect <command>`, its output in `<state>/prefect/<name>.log`."""
        with self.log(name).open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=found.home(self.state),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
            )  # fmt: skip
        return self.children[name]

    def log(self, name: str) -> Path:
        """Where a child's output goes."""
        return found.home(self.state) / f"{name}.log"

    def environment(self, server: found.LocalServer) -> dict[str, str]:
        """What server, worker and flow runs see."""
        return found.client_env(self.state, server, os.environ) | {
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(server.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_UI_ENABLED": "true",
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            **self.settings,
        }

    def wait(self, seconds: float) -> None:
        """Sleep, but wake at once when the lifeline is cut."""
        readable, _, _ = select.select([self.lifeline], [], [], seconds)
        if readable and not self.lifeline.read(1):
            self.stopping = True
        reap(self.pids())

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Signal handler: leave the loop; the work is done outside the handler."""
        self.stopping = True

    def pids(self) -> frozenset[int]:
        """Process ids of server and worker."""
        return frozenset(child.pid for child in self.children.values())

    def down(self) -> None:
        """Worker and flow runs first, while the server can still hear how they ended; then the server; then whatever is left."""
        server = self.children.get("server")
        worker = self.children.get("worker")
        sweep(self.mark, polite=FLOW_RUN_PATIENCE if worker else 0, keep=frozenset({server.pid}) if server else frozenset())
        if worker:
            worker.wait()
        if server:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        while any(True for _ in marked(self.mark)):
            sweep(self.mark, polite=0)
            time.sleep(0.05)
        tell("stopped")


def free_port(wanted: int) -> int:
    """`wanted` when nobody listens there, else one that the kernel gives."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("the kernel has no free port on 127.0.0.1")


def tell(event: str, **details: object) -> None:
    """One JSON line to the starter, if it still listens."""
    try:
        print(json.dumps({"event": event, **details}), flush=True)
    except BrokenPipeError:
        sys.stdout = sys.stderr  # the starter is gone; the lifeline will say so too


def main() -> int:
    """Read the plan and keep the stack."""
    # Unbuffered, or the plan's line would swallow what select() watches for.
    lifeline = os.fdopen(sys.stdin.fileno(), "r", closefd=False)
    plan = json.loads(lifeline.readline())
    return Supervisor(Path(plan["state"]), plan["pool"], plan["worker"], plan["settings"], lifeline).run()


if __name__ == "__main__":
    sys.exit(main())
