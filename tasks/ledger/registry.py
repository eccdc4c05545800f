"""The schema registry: versions of contracts, and of what sources were seen to send; a difference is drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from tasks.contract import Terms


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what a source sent before and now: `added`, `removed`, `retyped` or, a guess, `renamed`."""

    kind: str
    column: str
    before: str | None
    after: str | None
    evidence: str

    def __str__(self) -> str:
        change = {
            "added": f"is new ({self.after})",
            "removed": "is gone",
            "retyped": f"was {self.before}, is {self.after}",
            "renamed": f"may now be {self.after!r}",
        }
        return f"column {self.column!r} {change[self.kind]}: {self.evidence}"


def contract_version(conn: psycopg.Connection, pipeline: str, terms: Terms) -> int:
    """Number of this wording of the contract; a new wording gets the next number."""
    row = conn.execute("SELECT version FROM ledger.contract WHERE pipeline = %s AND digest = %s", (pipeline, terms.digest)).fetchone()
    if row:
        return int(row[0])
    row = conn.execute(
        """INSERT INTO ledger.contract (pipeline, version, digest, wording)
           SELECT %s, coalesce(max(version), 0) + 1, %s, %s FROM ledger.contract WHERE pipeline = %s RETURNING version""",
        (pipeline, terms.digest, Jsonb(terms.wording), pipeline),
    ).fetchone()
    assert row is not None  # noqa: S101 (INSERT … RETURNING always answers)
    return int(row[0])


def known_columns(conn: psycopg.Connection, pipeline: str) -> dict[str, str] | None:
    """Columns and types that the source was last seen to send; None before its first run."""
    row = conn.execute("SELECT columns FROM ledger.source_schema WHERE pipeline = %s ORDER BY version DESC LIMIT 1", (pipeline,)).fetchone()
    return dict(row[0]) if row else None


def compare(known: Mapping[str, str], seen: Mapping[str, str], rows: int, *, sparse: bool = False) -> list[Drift]:
    """What changed between two source schemas; columns that hold only nulls say nothing about their type.

    A column that is gone and a new one of the same type are taken for a renaming when there is just one such pair.
    From a sparse source an absent column says nothing: its records leave out what is null.
    """
    added = [column for column in seen if column not in known]
    removed = [] if sparse else [column for column in known if column not in seen]
    drifts = [
        Drift("retyped", column, known[column], seen[column], f"in {rows} rows")
        for column in seen
        if column in known and seen[column] != known[column] and "Null" not in (seen[column], known[column])
    ]
    if len(added) == len(removed) == 1 and known[removed[0]] == seen[added[0]]:
        evidence = f"one column went and one came, both {seen[added[0]]}"
        return [*drifts, Drift("renamed", removed[0], removed[0], added[0], evidence)]
    drifts += [Drift("added", column, None, seen[column], f"in {rows} rows") for column in added]
    return drifts + [Drift("removed", column, known[column], None, f"absent from all {rows} rows of the run") for column in removed]


def record_schema(
    conn: psycopg.Connection, pipeline: str, run_id: int, seen: Mapping[str, str], rows: int, *, sparse: bool = False
) -> list[Drift]:
    """Keep what the source sent; returns and records the drift since the last run.

    Windows of one pipeline may close at the same moment: they take turns, so that each compares with what the one before recorded.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (pipeline,))
    known = known_columns(conn, pipeline)
    drifts = compare(known, seen, rows, sparse=sparse) if known is not None else []
    if known is None or drifts:
        merged = {column: dtype for column, dtype in seen.items() if dtype != "Null" or not known or column not in known}
        conn.execute(
            """INSERT INTO ledger.source_schema (pipeline, version, columns, run_id)
               SELECT %s, coalesce(max(version), 0) + 1, %s, %s FROM ledger.source_schema WHERE pipeline = %s""",
            (pipeline, Jsonb({**{c: t for c, t in (known or {}).items() if sparse or c in seen}, **merged}), run_id, pipeline),
        )
    conn.cursor().executemany(
        "INSERT INTO ledger.drift (pipeline, run_id, kind, column_name, before, after, evidence) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [(pipeline, run_id, d.kind, d.column, d.before, d.after, d.evidence) for d in drifts],
    )
    return drifts
