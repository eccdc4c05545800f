"""The local stack ends with the process that wanted it, whichever way that process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.local import local_server, local_stack, stop_local
from deployments.local.found import LocalServer, read, supervised
from deployments.local.processes import marked
from tasks.errors import Misconfigured
from tests.e2e.conftest import eventually

HOLD = """
import sys, time
from pathlib import Path
from deployments.local import local_stack
with local_stack(Path(sys.argv[1]), worker=False) as stack:
    print(stack.url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], LocalServer]]]:
    """Start another process that holds a stack on the test's folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], LocalServer]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == local_server(tmp_path)
        server = read(tmp_path)
        assert server is not None
        return process, server

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(state: Path, server: LocalServer) -> bool:
    return not supervised(state) and not [*marked(server.mark)]


def test_a_killed_starter_leaves_nothing_and_the_next_gets_the_same_address(tmp_path: Path, holder: Any) -> None:
    process, first = holder()
    with pytest.raises(Misconfigured, match="already runs"), local_stack(tmp_path):
        raise AssertionError("two stacks on one folder")
    process.kill()
    eventually(lambda: gone(tmp_path, first), 30)
    assert local_server(tmp_path) is None
    process, second = holder()
    assert second.url == first.url
    process.send_signal(signal.SIGINT)
    eventually(lambda: gone(tmp_path, second), 30)


def test_a_dead_server_comes_back_until_another_process_stops_the_stack(tmp_path: Path, holder: Any) -> None:
    _, server = holder()
    [prefect] = marked(server.mark)
    os.kill(prefect, signal.SIGKILL)
    eventually(lambda: {*marked(server.mark)} - {prefect} and local_server(tmp_path))
    assert stop_local(tmp_path)
    assert gone(tmp_path, server)
    assert not stop_local(tmp_path)
