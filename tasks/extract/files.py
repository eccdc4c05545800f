"""Files in a folder as a source: CSV, JSON lines and Parquet, those that are new or changed; a damaged one is named, the others are read."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tasks.batch import Position
from tasks.errors import BadData, Misconfigured
from tasks.extract import lines, parquet
from tasks.extract.delimited import Csv
from tasks.extract.opening import COMPRESSED, Unreadable, digest, opened, told
from tasks.extract.records import stack
from tasks.extract.since import duration
from tasks.extract.source import Page, Request

Format = Literal["csv", "jsonl", "parquet"]
SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Files:
    """The new and changed files of a folder, in the order of their names.

    A file is known by the SHA-256 of its content. A text file that cannot be read in full gives no rows: the others are read, and
    then the run ends with an error that names each of them. Rows keep their order, so row N of a page is row `resume["row"]` minus
    the page's height plus N of the file.

    Parameters
    ----------
    folder: absolute, relative to the project's root, or `state:…` below the state folder, found out when it is read.
    glob: which files of it; `**/` goes into folders below.
    format: `csv`, `jsonl` or `parquet`; by the suffix where not given. CSV and JSON lines may be compressed (.gz, .zip, .zst).
    csv: how CSV files are written.
    settle: leave files alone that were written to within this time (`"30s"`); the next run takes them.
    max_ratio, max_bytes: the most that a compressed file may expand to: a multiple of its size, and bytes.
    """

    folder: str
    glob: str = "*"
    format: Format | None = None
    csv: Csv = field(default_factory=Csv)
    settle: str = "0s"
    max_ratio: int = 500
    max_bytes: int = 64 << 30

    def __post_init__(self) -> None:
        duration(self.settle)
        if self.format not in (None, "csv", "jsonl", "parquet"):
            raise Misconfigured("No such format", do='Use "csv", "jsonl" or "parquet".', setting="format", value=self.format)

    @property
    def incremental(self) -> bool:
        """Yes: what was read is not read again while it does not change."""
        return True

    @property
    def sparse(self) -> bool:
        """For JSON lines, whose records may lack fields."""
        return (self.format or SUFFIXES.get(_suffix(Path(self.glob)))) == "jsonl"

    def describe(self) -> str:
        """`files state:demo/flights/*.csv.gz`."""
        return f"files {self.folder}/{self.glob}"

    def read(self, request: Request) -> Generator[Page, None, None]:
        """Pages of up to `batch_rows` rows, each of one file; see `Source.read`."""
        if request.interval:
            do = "Run it without dates; full_refresh reads all files again."
            raise Misconfigured("A window was asked for, but files have no Since", do=do, pipeline=request.pipeline)
        resume = request.start.resume or {}
        left = request.limit
        failed: dict[str, str] = {}
        for path in self._paths(resume):
            for page in self._pages(path, request, resume, failed):
                part = page if left is None or page.rows.height < left else _cut(page, left)
                yield part
                if left is not None and (left := left - part.rows.height) <= 0:
                    return
        if failed:
            what = f"{len(failed)} of the files in {self.folder} cannot be read: " + " · ".join(
                f"{uri}: {why}" for uri, why in failed.items()
            )
            raise BadData(what, do="Mend them and run again: all other files were read", pipeline=request.pipeline, setting="extract")

    def _paths(self, resume: Mapping[str, Any]) -> list[Path]:
        """The files, in order; when a read continues, those behind the last one and those that failed before."""
        root = self._root()
        if not root.is_dir():
            raise Misconfigured(
                f"There is no folder {root}", do="Create it, or correct the folder of Files.", setting="folder", value=self.folder
            )
        try:
            found = sorted(path for path in root.glob(self.glob) if path.is_file())
        except (ValueError, NotImplementedError) as error:
            raise Misconfigured(f"Not a glob: {error}", do="Write it as *.csv or **/*.csv.", setting="glob", value=self.glob) from None
        since, again = resume.get("uri", ""), resume.get("failed", {})
        within = not resume.get("ended", True)
        return [path for path in found if path.as_uri() > since or path.as_uri() in again or (within and path.as_uri() == since)]

    def _root(self) -> Path:
        from blocks.settings import project_root, settings

        if self.folder.startswith("state:"):
            return settings().state / self.folder.removeprefix("state:")
        if "://" in self.folder and not self.folder.startswith("file://"):
            raise Misconfigured("Only local folders can be read", do="Give a folder of this machine.", setting="folder", value=self.folder)
        return project_root() / Path(self.folder.removeprefix("file://")).expanduser()

    def _pages(self, path: Path, request: Request, resume: Mapping[str, Any], failed: dict[str, str]) -> Iterator[Page]:
        """Pages of one file, unless it was seen, is still being written, or cannot be read: that is noted in `failed`."""
        uri = path.as_uri()
        try:
            before = path.stat()
            if time.time() - before.st_mtime < duration(self.settle).total_seconds():
                return
            seen = digest(path)
            known = request.start.items if request.full else {**request.seen, **request.start.items}
            if known.get(uri) == seen:
                return
            continues = resume.get("uri") == uri and resume.get("digest") == seen
            row = int(resume.get("row") or 0) if continues else 0
            for rows, at, ended in self._whole(path, row, request):
                if ended and (path.stat().st_mtime_ns, path.stat().st_size) != (before.st_mtime_ns, before.st_size):
                    raise Unreadable("It changed while it was read", 'Set settle="30s" of Files, so that files at rest are read.')
                where = {"uri": uri, "row": at, "ended": ended, "digest": seen, "failed": dict(failed)}
                yield Page(rows, Position(None, where, {uri: seen} if ended else {}), uri)
        except (OSError, Unreadable, EOFError) as error:
            failed[uri] = str(told(error))

    def _whole(self, path: Path, skip: int, request: Request) -> Iterator[tuple[pl.DataFrame, int, bool]]:
        """Pieces of a file behind a row: rows, the row number behind them, and whether that is the end.

        A text file of more than one piece is first read to its end, so that a fault there is found before any row is given;
        a read with a limit does without. Parquet says its layout up front and is read once: of one that is damaged further
        on, the rows before the damage are given, and the file counts as unread until it is mended.
        """
        size = request.batch_rows
        if skip == 0 and request.limit is None and self._kind(path) != "parquet":
            ahead = _sized(self._frames(path), 0, size)
            piece = next(ahead)
            if piece[2]:
                yield piece
                return
            for _ in ahead:
                pass
        yield from _sized(self._frames(path), skip, size)

    def _kind(self, path: Path) -> Format | None:
        return self.format or SUFFIXES.get(_suffix(path))

    def _frames(self, path: Path) -> Iterator[pl.DataFrame]:
        kind = self._kind(path)
        if kind == "parquet":
            return parquet.frames(path)
        opens = partial(opened, path, self.max_ratio, self.max_bytes)
        if kind == "jsonl":
            return lines.frames(opens)
        if kind == "csv":
            tabs = _suffix(path) == ".tsv" and self.csv.separator == ","
            return (self.csv.tabbed() if tabs else self.csv).frames(opens)
        do = "Give Files a format (csv, jsonl or parquet), or a glob that leaves such files out."
        raise Unreadable("Its suffix does not say what it is", do)


def _suffix(path: Path) -> str:
    """What the file is without its compression: `.csv` of `a.csv.gz`."""
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _sized(frames: Iterator[pl.DataFrame], skip: int, size: int) -> Iterator[tuple[pl.DataFrame, int, bool]]:
    """Frames gathered into pieces of `size` rows behind row `skip`; the last one, which may be empty, says so."""
    held: list[pl.DataFrame] = []
    height, at = 0, 0
    for frame in frames:
        rows = frame.slice(max(0, skip - at))
        at += frame.height
        if rows.height or not held:
            held.append(rows)
            height += rows.height
        while height > size:
            whole = stack(held)
            held, height = [whole.slice(size)], height - size
            yield whole.head(size), at - height, False
    yield stack(held) if held else pl.DataFrame(), at, True


def _cut(page: Page, rows: int) -> Page:
    """The first rows of a page; where rows are left, the file is not finished."""
    if page.rows.height == rows:
        return page
    where = dict(page.position.resume or {})
    where |= {"row": where["row"] - page.rows.height + rows, "ended": False}
    return Page(page.rows.head(rows), Position(None, where), page.origin)
