"""The files of one embedded server: all in one folder, which only its owner may enter."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.errors import Misconfigured


class Files:
    """Paths below `<state>/postgres`, and the locks on them; making one touches nothing.

    Locks are flock locks, which end with the last process that holds them, however it ends: so who is alive is
    never guessed from process ids. `alive` is held by the postmaster and every backend; `start` by who
    starts or stops the server; `supervisor` by the process that stops an idle one.
    """

    def __init__(self, state: Path) -> None:
        self.folder = state.absolute() / "postgres"
        self.data = self.folder / "data"
        self.password = self.folder / "password"
        self.port = self.folder / "port"
        self.asked = self.folder / "asked"
        self.log = self.folder / "postgres.log"

    @property
    def cluster(self) -> str:
        """A name for the server that no other folder's server has; PostgreSQL puts it in the title of each of its processes."""
        return "millrace-" + hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]

    def create(self) -> None:
        """Make the folder, readable by its owner alone.

        Raises
        ------
        Misconfigured: the folder belongs to someone else, or cannot be made.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.asked.touch(mode=0o600)
        except OSError as error:
            raise Misconfigured(
                f"The folder of the embedded PostgreSQL is not usable: {error.strerror}",
                do="Run as its owner, or set MILLRACE_STATE to a folder of your own.",
                setting="MILLRACE_STATE",
                value=str(self.folder),
            ) from error

    def secret(self) -> str:
        """The superuser's password, made at the first call; call it with the `start` lock held."""
        if not self.password.exists():
            fresh = self.password.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.password)
        return self.password.read_text()

    def try_lock(self, name: str) -> int | None:
        """Take the lock `name` if it is free: its file descriptor, or None. Closing every copy of the descriptor lets go."""
        descriptor = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock `name`, waiting for whoever holds it."""
        descriptor = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also frees it where a fork made meanwhile still holds a copy
            os.close(descriptor)

    def is_free(self, name: str) -> bool:
        """Whether nobody holds the lock `name`."""
        descriptor = self.try_lock(name)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None
