"""What the runs need: a durable PostgreSQL of default settings and a Prefect API, both of this benchmark's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.embedded import Server, ensure, stop
from tests.conftest import end_with_parent, wait_for


@contextmanager
def postgres(state: Path) -> Iterator[Server]:
    """A PostgreSQL that keeps what it commits, as a warehouse does."""
    server = ensure(state, idle=60, durable=True)
    with server.connect("postgres", application_name="benchmark"):
        yield server
    stop(state)


@contextmanager
def prefect(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect API; yields the environment of its clients."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_UI_ENABLED": "0",
    }
    app = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", port, "--log-level", "error"]
    with (home / "server.log").open("wb") as log:
        command = [sys.executable, "-m", *app]
        server = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log, preexec_fn=end_with_parent)  # noqa: PLW1509
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", server, home / "server.log")
            yield {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        finally:
            server.kill()
            server.wait()
