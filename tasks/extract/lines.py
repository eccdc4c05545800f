"""JSON lines: one object per line, read as a stream; a fault is named with its line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import BinaryIO

import polars as pl

from tasks.extract.delimited import Open
from tasks.extract.opening import Unreadable
from tasks.extract.records import frame

CHUNK = 8 << 20
"""Bytes that are parsed at a time."""

LONGEST = 64 << 20
"""Bytes that one line may have."""

FLAT = {pl.String(), pl.Int64(), pl.Float64(), pl.Boolean(), pl.Null()}


def frames(opened: Open) -> Iterator[pl.DataFrame]:
    """The objects as frames of some megabytes; columns whose types clash within one are text in it.

    Raises
    ------
    Unreadable: a line is no JSON object, is longer than 64 MB, or is not UTF-8.
    """
    before = 0
    with opened() as stream:
        for chunk in _whole_lines(stream):
            if chunk.strip():
                yield _parsed(chunk, before)
            before += chunk.count(b"\n")


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while data := stream.read(CHUNK):
        lines, newline, tail = data.rpartition(b"\n")
        if newline:
            yield rest + lines + newline
            rest = tail
        else:
            rest += tail
        if len(rest) > LONGEST:
            raise Unreadable(f"A line is longer than {LONGEST:,} bytes", "Write one JSON object per line.")
    if rest:
        yield rest


def _parsed(chunk: bytes, before: int) -> pl.DataFrame:
    """Fast where all columns are plain; slowly and exactly where values are nested, types clash, or a line is at fault."""
    fast = _plain(chunk)
    if fast is not None:
        return fast
    lines = chunk.split(b"\n")
    try:
        found = json.loads(b"[" + b",".join(line for line in lines if line.strip()) + b"]")
    except ValueError:
        found = [None]
    if not all(type(record) is dict for record in found):
        raise _diagnosed(lines, before)
    return frame(found)


def _plain(chunk: bytes) -> pl.DataFrame | None:
    """The rows, or nothing where the fast reader stops or would have to choose types for nested values."""
    try:
        rows = pl.read_ndjson(io.BytesIO(chunk), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        return None
    return rows if rows.width and set(rows.dtypes) <= FLAT else None


def _diagnosed(lines: list[bytes], before: int) -> Unreadable:
    do = "Correct or remove the line; the file must have one JSON object per line, in UTF-8."
    for number, line in enumerate(lines, before + 1):
        if line.strip():
            try:
                if not isinstance(json.loads(line), dict):
                    return Unreadable("It is no JSON object", do, line=number)
            except ValueError as error:
                return Unreadable(f"It is no JSON ({error})", do, line=number)
    return Unreadable("It is no JSON lines file", do)
