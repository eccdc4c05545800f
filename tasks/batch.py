"""The handles that walk between stages: positions, intervals, batches and their counts. Never a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

Cursor = str | int | float | None
"""A cursor as JSON keeps it: timestamps are ISO 8601 text in UTC with microseconds, numbers are numbers."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a source stands after a page or batch; a read from here continues exactly.

    Parameters
    ----------
    cursor: greatest value of the `since` column so far (never lagged); None where the source has none.
    resume: what continues this very read (page token, file and row offset, last key); dropped when a run completes.
    items: whole objects finished with this page, as URI → digest; remembered so they are read only when changed.
    """

    cursor: Cursor = None
    resume: Mapping[str, Any] | None = None
    items: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able form, as the ledger keeps it."""
        return {"cursor": self.cursor, "resume": self.resume, "items": dict(self.items)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Position:
        """Inverse of `to_json`; an empty or missing store is the very beginning."""
        stored = stored or {}
        return cls(stored.get("cursor"), stored.get("resume"), stored.get("items") or {})


@dataclass(frozen=True, slots=True)
class Interval:
    """A half-open window of the `since` column, start <= value < end, in UTC; None leaves a side open."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def name(self) -> str:
        """How the ledger names the partition that a backfill of this window writes."""
        return f"{self.start.isoformat() if self.start else ''}/{self.end.isoformat() if self.end else ''}"

    def __bool__(self) -> bool:
        return self.start is not None or self.end is not None


@dataclass(frozen=True, slots=True)
class Batch:
    """A landed batch: one immutable Parquet file, registered in the ledger.

    Parameters
    ----------
    id: ledger id, what `_batch` holds in every target row.
    run, seq: the run it belongs to and its place in it, from 0.
    uri: where the file lies. rows, bytes: its size. digest: SHA-256 of the file, hex.
    position: where the source stood after its last row.
    adopted: it was landed by an earlier attempt, so its digest is verified before it is read.
    """

    id: int
    run: int
    pipeline: str
    seq: int
    uri: str
    rows: int
    bytes: int
    digest: str
    position: Position
    adopted: bool = False


@dataclass(slots=True)
class Counts:
    """What became of the rows of a batch or a run; `balanced` is the law of conservation (L1).

    landed: rows read. derived: rows a transform added (or, aggregating, folded away: negative).
    deleted: target rows removed because the source no longer has them; warned: rows loaded in spite of a `warn` rule.
    Neither `deleted` nor `warned` is part of the balance.
    """

    landed: int = 0
    derived: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    filtered: int = 0
    quarantined: int = 0
    deleted: int = 0
    warned: int = 0

    @property
    def accounted(self) -> int:
        """Rows whose fate is known."""
        return self.inserted + self.updated + self.unchanged + self.duplicate + self.filtered + self.quarantined

    @property
    def balanced(self) -> bool:
        """Whether every landed row is accounted for."""
        return self.landed + self.derived == self.accounted

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)})

    def to_json(self) -> dict[str, int]:
        """Plain dict, in the order a report prints it."""
        return asdict(self)
