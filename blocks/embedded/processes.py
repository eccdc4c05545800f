"""Starting processes that outlive us, and finding the ones that a killed postmaster left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from blocks.embedded.files import Files


def launch(command: list[str], *, log: Path, holding: int) -> None:
    """Start a process in a session of its own, which neither our end nor a Ctrl-C in our terminal stops.

    The shell between makes it nobody's child at once, so that no zombie stays with us when it ends.

    Parameters
    ----------
    log: file that its output is appended to. holding: descriptor of a lock that it holds from now on, instead of us.
    """
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(holding,),
            start_new_session=True,
        )
    os.close(holding)


def postmaster(files: Files) -> int | None:
    """Process id of this folder's postmaster as its pid file has it, checked to be one; None when there is none."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int((files.data / "postmaster.pid").read_text().split()[0])
        if f"cluster_name={files.cluster}" in command_line(pid):
            return pid
    return None


def listening_port(files: Files) -> int | None:
    """The port of this folder's live postmaster as its pid file has it, ready or not; None when there is no postmaster."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        return int((files.data / "postmaster.pid").read_text().splitlines()[3]) if postmaster(files) else None
    return None


def orphans(files: Files) -> Iterator[int]:
    """Process ids of this server's backends, which carry its name in their titles; for when no postmaster is there."""
    for entry in Path("/proc").glob("[0-9]*"):
        if command_line(int(entry.name)).startswith(f"postgres: {files.cluster}: "):
            yield int(entry.name)


def command_line(pid: int) -> str:
    """The command line of a process, words parted by spaces; empty when it is gone or a zombie."""
    if Path("/proc/self").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def end(pid: int, how: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)
