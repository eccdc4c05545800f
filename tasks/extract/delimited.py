"""CSV: every field as text, read as a stream; a fault is named with its line."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Literal

import polars as pl

from tasks.errors import Misconfigured
from tasks.extract.opening import Unreadable

Open = Callable[[], AbstractContextManager[BinaryIO]]
"""Opens the file from its beginning."""

BLOCK = 4 << 20
"""Bytes that are parsed at a time; a record cannot be longer."""

_ENCODING = "Give Csv the encoding that the file is in."


@dataclass(frozen=True, slots=True)
class Csv:
    """How a CSV file is written. Fields arrive as text, untouched: the contract casts them.

    Parameters
    ----------
    separator: between fields; a `.tsv` file has a tab unless another one than the comma is given here.
    quote: around fields that hold separators or line ends; None where quotes mean nothing.
    encoding: any that Python knows. header: whether the first line names the columns; else they are column_1, column_2 …
    null_values: fields that mean null, where they are not quoted; a quoted "" is empty text and never null.
    """

    separator: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    header: bool = True
    null_values: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            do = "Name one that Python knows: utf-8, cp1252, latin-1, utf-16 …"
            raise Misconfigured("No such encoding", do=do, setting="encoding", value=self.encoding) from None

    def tabbed(self) -> Csv:
        """The same with tabs as separator."""
        return replace(self, separator="\t")

    def frames(self, opened: Open) -> Iterator[pl.DataFrame]:
        """The rows as frames of some megabytes.

        Raises
        ------
        Unreadable: encoding, a line with too few or too many fields, an unclosed quote, two columns of one name.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow

        names, rows = self._start(opened)
        if not rows:
            yield pl.DataFrame(schema=dict.fromkeys(names, pl.String))
            return
        reading = arrow.ReadOptions(
            block_size=BLOCK, encoding="utf8" if self._utf8 else self.encoding, column_names=None if self.header else names
        )
        parsing = arrow.ParseOptions(
            delimiter=self.separator, quote_char=self.quote or False, newlines_in_values=True, ignore_empty_lines=len(names) > 1
        )
        converting = arrow.ConvertOptions(
            column_types={name: pa.string() for name in names},
            strings_can_be_null=True,
            null_values=list(self.null_values),
            quoted_strings_can_be_null=False,
        )
        try:
            with opened() as stream, arrow.open_csv(stream, reading, parsing, converting) as reader:
                for batch in reader:
                    yield pl.DataFrame(pl.from_arrow(batch))
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise self._diagnosed(opened, len(names), error) from error

    @property
    def _utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")

    def _text(self, stream: BinaryIO) -> io.TextIOWrapper:
        return io.TextIOWrapper(stream, "utf-8-sig" if self._utf8 else self.encoding, newline="")

    def _rows(self, text: io.TextIOWrapper) -> Iterator[list[str]]:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        return csv.reader(text, delimiter=self.separator, quotechar=self.quote or '"', quoting=quoting)

    def _start(self, opened: Open) -> tuple[list[str], bool]:
        """The columns' names, and whether there are any rows."""
        csv.field_size_limit(BLOCK)
        try:
            with opened() as stream, self._text(stream) as text:
                first, *others = islice((row for row in self._rows(text) if row), 2 if self.header else 1)
        except UnicodeError as error:
            raise self._undecoded(opened) or Unreadable(f"It is not {self.encoding}", _ENCODING) from error
        except csv.Error as error:
            raise Unreadable(f"The first lines cannot be read ({error})", "Look for a quote that is not closed.", line=1) from error
        except ValueError as error:
            if not self.header:
                return [], False
            raise Unreadable(
                "It is empty, without even a header", "Have it written again; an export without rows has its header."
            ) from error
        if not self.header:
            return [f"column_{number}" for number in range(1, len(first) + 1)], True
        twice = [name for name, times in Counter(first).items() if times > 1]
        if twice:
            raise Unreadable(f"The header names {', '.join(map(repr, twice))} more than once", "Give each column its own name.", line=1)
        return first, bool(others)

    def _diagnosed(self, opened: Open, width: int, error: Exception) -> Unreadable:
        """Read the file again, slowly, to name the line that stopped the fast reader."""
        if undecodable := self._undecoded(opened):
            return undecodable
        with opened() as stream, self._text(stream) as text:
            rows = self._rows(text)
            try:
                for row in rows:
                    if len(row) not in ((0, width) if width > 1 else (0, 1)):
                        line = rows.line_num  # type: ignore[attr-defined]  # csv readers have it
                        do = "Correct the line (a separator without quotes around its field?), or the separator of Csv."
                        return Unreadable(f"{len(row)} fields where the header has {width}", do, line=line)
            except csv.Error as slow:
                return Unreadable(f"A field is longer than {BLOCK:,} bytes ({slow})", "Look for a quote that is not closed.")
        do = "Look for a quote that is not closed." if "straddling" in str(error) else "Check separator and quote of Csv."
        return Unreadable(" ".join(str(error).split())[:300], do)

    def _undecoded(self, opened: Open) -> Unreadable | None:
        """The first byte that is not in the encoding, by line and offset."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        offset, lines = 0, 1
        with opened() as stream:
            while True:
                chunk = stream.read(1 << 20)
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    at = offset - pending + error.start
                    line = lines + chunk[: max(0, error.start - pending)].count(b"\n")
                    guess = "cp1252 (Windows), latin-1 or utf-16" if self._utf8 else "utf-8"
                    what = f"Byte {at:,} (0x{error.object[error.start]:02x}) is not {self.encoding}"
                    return Unreadable(what, f"Give Csv the encoding that the file is in, perhaps {guess}.", line=line)
                if not chunk:
                    return None
                offset, lines = offset + len(chunk), lines + chunk.count(b"\n")
