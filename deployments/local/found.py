"""What is known of the local stack of a state folder, for processes that did not start it."""

from __future__ import annotations

import fcntl
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A stack as written to `<state>/prefect/server.json`.

    Parameters
    ----------
    url: the API, `http://127.0.0.1:<port>/api`.
    ui_url: where a browser goes.
    port: kept over restarts while it is free, so that links stay good.
    pid: the supervisor's process id.
    mark: the random word in the environment of all processes of the stack.
    """

    url: str
    ui_url: str
    port: int
    pid: int
    mark: str


def home(state: Path) -> Path:
    """The PREFECT_HOME of the stack: its database, logs and profile; never the user's own."""
    return state / "prefect"


def read(state: Path) -> LocalServer | None:
    """The last stack of this state folder, running or not."""
    try:
        return LocalServer(**json.loads((home(state) / "server.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never started, or a file of another version: both mean that nothing is known


def write(state: Path, server: LocalServer) -> None:
    """Say where the stack is; the file appears whole or not at all."""
    target = home(state) / "server.json"
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(server)))
    draft.replace(target)


def supervised(state: Path) -> bool:
    """Whether a supervisor lives: it holds the lock for as long as it does."""
    try:
        with (home(state) / "stack.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def healthy(url: str, timeout: float = 2.0) -> bool:
    """Whether the API at `url` answers that it is well."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def local_server(state: Path) -> str | None:
    """The API URL of the stack that runs on this state folder now, or None when there is none that answers."""
    server = read(state)
    return server.url if server and supervised(state) and healthy(server.url) else None


def local_env(state: Path, environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """The environment in which `prefect` and Millrace talk to the running local stack, or None when none runs.

    It is `environ` (default: this process's) without any PREFECT_ setting of the user's, plus ours.
    """
    server = read(state)
    if server is None or local_server(state) is None:
        return None
    return client_env(state, server, os.environ if environ is None else environ)


def client_env(state: Path, server: LocalServer, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without the user's Prefect settings, pointed at this server."""
    return {name: value for name, value in environ.items() if not name.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(home(state)),
        "PREFECT_API_URL": server.url,
        "PREFECT_UI_URL": server.ui_url,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "DO_NOT_TRACK": "1",
        "MILLRACE_STATE": str(state),
    }
