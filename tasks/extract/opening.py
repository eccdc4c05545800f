"""Opening files: compressed ones as streams whose expansion is bounded, and their digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tasks.errors import MillraceError

COMPRESSED = (".gz", ".zip", ".zst")
FREE = 64 << 20
"""Bytes that any compressed file may expand to, whatever its ratio."""


class Unreadable(Exception):
    """One file cannot be read: why, the line where that is known, and what to do. Collected, and told at the end."""

    def __init__(self, why: str, do: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.do, self.line = why, do, line

    def __str__(self) -> str:
        at = f"line {self.line}: " if self.line is not None else ""
        return f"{at}{self.why.rstrip('.')}. {self.do}"


class Bounded(io.RawIOBase):
    """A stream that ends with `Unreadable` when more than `most` bytes come out of it, as from a decompression bomb."""

    def __init__(self, inner: BinaryIO, most: int) -> None:
        self._inner, self._left, self._most = inner, most, most

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what RawIOBase passes
        """Read on, up to the size of the buffer."""
        data = self._inner.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            do = "Make sure that the file is meant to be so large, then raise max_ratio or max_bytes of Files."
            raise Unreadable(f"It expands to more than {self._most:,} bytes", do)
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def opened(path: Path, max_ratio: int, max_bytes: int) -> Iterator[BinaryIO]:
    """The content of a file, decompressed by its suffix; a fault in the compression is `Unreadable` wherever it shows."""
    suffix = path.suffix.lower()
    most = min(max_bytes, max(FREE, path.stat().st_size * max_ratio))
    try:
        with ExitStack() as stack:
            inner = _decompressed(path, suffix, stack)
            if suffix not in COMPRESSED:
                yield inner
                return
            yield cast(BinaryIO, stack.enter_context(io.BufferedReader(Bounded(inner, most), 1 << 20)))
    except EOFError as error:
        raise Unreadable("It ends in the middle of the compressed data: the file is truncated", _AGAIN) from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        raise Unreadable(f"It is no intact {suffix[1:]} file ({error})", _AGAIN) from error
    except OSError as error:
        if suffix == ".zst" and error.errno is None:
            raise Unreadable(f"It is no intact zst file ({error})", _AGAIN) from error
        raise


_AGAIN = "Fetch it again from where it came."


def _decompressed(path: Path, suffix: str, stack: ExitStack) -> BinaryIO:
    if suffix == ".gz":
        return cast(BinaryIO, stack.enter_context(gzip.open(path, "rb")))
    if suffix == ".zst":
        import pyarrow as pa

        return cast(BinaryIO, stack.enter_context(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
    if suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise Unreadable(f"The zip holds {len(members)} files", "Put exactly one file into it.")
        return cast(BinaryIO, stack.enter_context(archive.open(members[0])))
    return stack.enter_context(path.open("rb"))


def digest(path: Path) -> str:
    """SHA-256 of the file as it lies there, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def told(error: BaseException) -> Unreadable:
    """Any failure to read one file, as one that explains itself."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, MillraceError):
        return Unreadable(error.what, error.do)
    if isinstance(error, FileNotFoundError):
        return Unreadable("It vanished before it was read", "Nothing, when it was taken away on purpose; else put it back.")
    if isinstance(error, PermissionError):
        return Unreadable("This user may not read it", "Give the user that runs the worker the right to read it.")
    return Unreadable(f"{type(error).__name__}: {error}", "Check the file, or fetch it again.")
