"""One local stack, two sinks that notifications arrive at, and a project of three small flows, for all end-to-end tests."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from deployments.deploy import deploy
from deployments.local import Stack, local_stack
from deployments.local.found import read
from deployments.local.processes import marked
from deployments.local.supervisor import free_port

MILL = Path(__file__).parent / "project"


@dataclass
class Sinks:
    """What arrived: JSON bodies at the webhook, whole messages by mail."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content.decode().replace("=\r\n", ""))
        return "250 kept"


@pytest.fixture(scope="module")
def sinks() -> Iterator[Sinks]:
    """A Slack-shaped webhook and an SMTP server."""
    kept = Sinks()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    smtp = Controller(kept, hostname="127.0.0.1", port=free_port(0))
    smtp.start()
    kept.environ = {
        "MILLRACE_SLACK_URL": f"http://127.0.0.1:{http.server_port}/services/T0/B0/secret",
        "MILLRACE_ALERT_EMAIL": "operator@example.com",
        "MILLRACE_SMTP_URL": f"smtp://127.0.0.1:{smtp.port}",
    }
    yield kept
    smtp.stop()
    http.shutdown()
    http.server_close()


@dataclass
class Mill:
    """The running stack with the project deployed."""

    stack: Stack
    project: Path

    def get(self, path: str, body: dict[str, Any] | list[Any] | None = None) -> Any:
        """Ask the API: POST with a body, GET without."""
        url = f"{self.stack.url}/{path}"
        answer = httpx.get(url, timeout=30) if body is None else httpx.post(url, json=body, timeout=30, follow_redirects=True)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        return self.get(f"deployments/name/{name}/{name}")

    def runs(self, deployment: str, **conditions: Any) -> list[dict[str, Any]]:
        chosen = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": conditions, "sort": "EXPECTED_START_TIME_DESC"}
        return self.get("flow_runs/filter", chosen)

    def start(self, deployment: str) -> dict[str, Any]:
        return self.get(f"deployments/{self.deployment(deployment)['id']}/create_flow_run", {})

    def automations(self) -> list[dict[str, Any]]:
        return self.get("automations/filter", {"sort": "NAME_ASC"})

    def variant(self, folder: Path, change: Callable[[str], str]) -> Path:
        """A copy of the project with another prefect.yaml."""
        copy = Path(shutil.copytree(self.project, folder / "variant"))
        (copy / "prefect.yaml").write_text(change((copy / "prefect.yaml").read_text()))
        return copy


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory, sinks: Sinks) -> Iterator[Mill]:
    """A stack with the project deployed; when it stops, nothing of it is left, the flow run that never ends included."""
    project = Path(shutil.copytree(MILL, tmp_path_factory.mktemp("mill") / "project"))
    state = project.parent / "state"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "PREFECT_"))}
    settings = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with local_stack(state, settings=settings, environ=environ | {"MILLRACE_HOME": str(project)}) as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in sinks.environ.items():
                patch.setenv(name, value)
            deploy(project, url=stack.url)
        server = read(state)
        assert server is not None
        yield Mill(stack, project)
    assert [*marked(server.mark)] == []


def eventually(what: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true answer; fails with the last one after `seconds`."""
    until = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < until, f"still {answer!r} after {seconds} s"
        time.sleep(0.3)
    return answer
