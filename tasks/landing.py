"""The landing: every batch as one immutable Parquet file, the raw copy of what the source gave."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.errors import BadData, Misconfigured

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file in the landing: its path below the landing's root, its size in bytes and its SHA-256 in hex."""

    uri: str
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Landing:
    """A landing in a local folder.

    Parameters
    ----------
    root: folder; files lie in it as `pipeline/run/seq-attempt.parquet`.
    """

    root: Path

    @classmethod
    def at(cls, place: str) -> Landing:
        """The landing that a setting names; raises Misconfigured for a URL, which none can be yet."""
        if "://" in place:
            raise Misconfigured(
                "The landing is a folder of this machine, not a URL", do="Set MILLRACE_LANDING to a folder", setting="landing", value=place
            )
        return cls(Path(place).expanduser().absolute())

    def write(self, frame: pl.DataFrame, pipeline: str, run: int, seq: int, attempt: int) -> LandedFile:
        """Write one batch so that it is there whole or not at all, also after a power cut.

        Raises Misconfigured when the disk is full or the folder cannot be written; nothing is left behind then.
        """
        uri = f"{pipeline}/{run}/{seq:06d}-{attempt}.parquet"
        path = self.root / uri
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(partial, compression="lz4", statistics=False)
            digest = _sync_and_digest(partial)
            partial.replace(path)
            _sync_folder(path.parent)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._refused(error, path, pipeline) from error
        finally:
            partial.unlink(missing_ok=True)
        return LandedFile(uri, path.stat().st_size, digest)

    def read(self, uri: str, digest: str | None = None) -> pl.DataFrame:
        """Read a batch back; with `digest`, only if the file still is what was registered.

        Raises BadData when the file is gone, changed or unreadable.
        """
        path = self.root / uri
        try:
            if digest is not None and _digest(path) != digest:
                raise BadData("A landed file is not what was landed: its SHA-256 differs", do=_RESTORE, setting="landing", value=str(path))
            return pl.read_parquet(path, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadData(f"A landed file cannot be read: {error}", do=_RESTORE, setting="landing", value=str(path)) from error

    def columns(self, uri: str) -> dict[str, str]:
        """Columns and types of a landed batch, from the file's footer; raises BadData as `read` does."""
        path = self.root / uri
        try:
            return {name: str(dtype) for name, dtype in pl.read_parquet_schema(path).items()}
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadData(f"A landed file cannot be read: {error}", do=_RESTORE, setting="landing", value=str(path)) from error

    def sweep(self, pipeline: str, run: int, registered: Collection[str]) -> None:
        """Remove what a dead attempt wrote for a run and did not register."""
        for path in (self.root / pipeline / str(run)).glob("*"):
            if str(path.relative_to(self.root)) not in registered:
                path.unlink(missing_ok=True)

    def _refused(self, error: Exception, path: Path, pipeline: str) -> Misconfigured:
        full = getattr(error, "errno", None) in FULL or "No space left" in str(error) or "File too large" in str(error)
        what = (
            "The disk that holds the landing is full"
            if full
            else f"The landing cannot be written: {getattr(error, 'strerror', None) or error}"
        )
        do = (
            "Free space there or set MILLRACE_LANDING to a larger disk"
            if full
            else "Give this user the right to write there, or set MILLRACE_LANDING"
        )
        return Misconfigured(
            what,
            do=f"{do}, then run again: the run goes on behind the last landed batch",
            pipeline=pipeline,
            setting="landing",
            value=str(path),
        )


_RESTORE = "Restore the file from a backup, or run the pipeline with full_refresh to read the source again"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_and_digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
