"""A child process with its seconds on the wall and its peak memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def keep_bytecode(folder: Path) -> None:
    """Let child processes keep compiled modules in a folder, as an installed package has them, whatever this shell says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder.absolute())


@dataclass(frozen=True, slots=True)
class Measured:
    """seconds: wall time from start to end. peak: resident memory in bytes. output: what it printed."""

    seconds: float
    peak: int
    output: str


def measured(command: Sequence[str | Path], environment: Mapping[str, str], standard_input: str = "") -> Measured:
    """Run a command to its end; raises RuntimeError with what it printed when it fails."""
    start = time.perf_counter()
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    assert child.stdin
    assert child.stdout
    child.stdin.write(standard_input)
    child.stdin.close()
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{output[-4000:]}")
    return Measured(seconds, usage.ru_maxrss * 1024, output)
