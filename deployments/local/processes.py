"""Finding and ending every process that belongs to a local stack, however deep it was started.

A flow run is started in a session of its own, so process groups do not reach it. Each stack therefore has a mark, a random
word in the environment that every descendant inherits, and whoever ends the stack looks for the mark.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK = "MILLRACE_STACK"
_PROC = Path("/proc")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# The embedded PostgreSQL outlives the flow run that happened to start it: other processes use it, and it ends by itself when idle.
_OUTLIVES = (b"blocks.embedded", b"postgres")


def marked(mark: str) -> Iterator[int]:
    """Ids of the living processes that carry this mark, this process excluded."""
    word = f"{MARK}={mark}".encode()
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or it is another user's and so not ours
        if word in environment.split(b"\0") and not any(name in command for name in _OUTLIVES):
            yield int(entry.name)


def end(pids: Iterable[int], signum: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue


def sweep(mark: str, *, polite: float, keep: frozenset[int] = frozenset()) -> int:
    """End all marked processes but `keep`: SIGTERM, up to `polite` seconds, then SIGKILL. Returns how many had to be killed."""
    end(set(marked(mark)) - keep, signal.SIGTERM)
    until = time.monotonic() + polite
    while (left := set(marked(mark)) - keep) and time.monotonic() < until:
        reap(keep)
        time.sleep(0.1)
    end(left, signal.SIGKILL)
    reap(keep)
    return len(left)


def reap(keep: frozenset[int] = frozenset()) -> None:
    """Collect orphans of ours that have ended, so that none stays as a zombie; `keep` are left to their own Popen."""
    for task in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            if pid not in keep:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they can be found and reaped (Linux; nothing elsewhere)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this process when its parent ends, however the parent ends (Linux; nothing elsewhere)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
