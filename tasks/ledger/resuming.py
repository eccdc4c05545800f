"""Another attempt at an interrupted run: which of its batches stand, which are read again, and where the source is read on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tasks.batch import Position
from tasks.ledger.runs import Run, begin_attempt, same_code

Row = dict[str, Any]


def resume(conn: psycopg.Connection, run_id: int, facts: Mapping[str, Any], *, keyed: bool) -> Run:
    """Begin another attempt of an interrupted run, behind its last batch that stands.

    Where the source cannot be read on from there, the read starts over. Rows of a keyed table are then recognised as unchanged;
    those of a staging table, or of a table without a key, are taken back: their batches are discarded in this transaction, and
    the caller removes the rows of `taken_back` in it as well.

    Parameters
    ----------
    facts: as for `runs.start`. keyed: rows that come twice are recognised by a key in the table itself.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        run = cursor.execute("SELECT * FROM ledger.run WHERE id = %s FOR UPDATE", (run_id,)).fetchone()
        landed = cursor.execute("SELECT * FROM ledger.batch WHERE run_id = %s AND state <> 'discarded' ORDER BY seq", (run_id,)).fetchall()
        last = cursor.execute("SELECT max(seq) AS seq FROM ledger.batch WHERE run_id = %s", (run_id,)).fetchone()
        before = cursor.execute("SELECT * FROM ledger.attempt WHERE run_id = %s ORDER BY number DESC LIMIT 1", (run_id,)).fetchone()
    assert run is not None  # noqa: S101 (the id comes from `interrupted`)
    standing = _standing(run, landed, before, facts)
    dropped = landed[len(standing) :]
    staged = run["kind"] == "full_refresh"
    if staged and any(batch["state"] == "loaded" for batch in dropped):
        standing, dropped = [], landed  # a staging table is begun anew as a whole
    taken_back = () if keyed and not staged else tuple(batch["id"] for batch in dropped if batch["state"] == "loaded")
    place = _place(standing) or Position.from_json(run["cursor_from"])
    _discard(conn, run, dropped, taken_back, place)
    read_to = None if dropped else run["read_to"]
    conn.execute(
        """UPDATE ledger.run SET state = 'running', attempts = attempts + 1, ended_at = NULL, failure = NULL, versions = %s, flow_run_id = %s,
               source = %s, read_to = %s WHERE id = %s""",
        (Jsonb(facts["versions"]), facts["flow_run_id"], facts["source"], Jsonb(read_to) if read_to else None, run_id),
    )
    begin_attempt(conn, run_id, run["attempts"] + 1, facts["flow_run_id"])
    return Run(
        id=run_id,
        attempt=run["attempts"] + 1,
        kind=run["kind"],
        cursor_from=Position.from_json(run["cursor_from"]),
        resume=place,
        read_to=Position.from_json(read_to) if read_to else None,
        rows_before=run["rows_before"],
        continued=True,
        seq=last["seq"] + 1 if last and last["seq"] is not None else 0,
        taken_back=taken_back,
    )


def _standing(run: Row, landed: Sequence[Row], before: Row | None, facts: Mapping[str, Any]) -> list[Row]:
    """The first batches of the run, as many as stand: their rows are loaded, or wait in the landing to be.

    A run that failed for its data while contract and pipeline stay the same would fail for it again: what is not loaded of it
    is read again, since it is the source that has to be corrected.
    """
    standing = list(landed)
    if _failed_for_its_data(run) and same_code(run["versions"], facts["versions"]):
        first = next((number for number, batch in enumerate(landed) if batch["state"] == "landed"), len(landed))
        standing = standing[:first]
    if len(standing) == len(landed) and run["read_to"]:
        return standing
    place = _place(standing)
    return [] if place is None or (place.resume and _lost(run, before, facts) and not place.items) else standing


def _place(standing: Sequence[Row]) -> Position | None:
    """Where to read on behind these batches; None where the source can only start over."""
    if not standing:
        return None
    last = Position.from_json(standing[-1]["position"])
    finished = {uri: digest for batch in standing for uri, digest in (batch["position"].get("items") or {}).items()}
    return Position(last.cursor, last.resume, finished) if last.resume or finished else None


def _lost(run: Row, before: Row | None, facts: Mapping[str, Any]) -> bool:
    """Whether a place to resume from is worth nothing: the source is another one, or the attempt that used it got nowhere
    (a page token may have expired)."""
    got_nowhere = run["attempts"] > 1 and before is not None and before["batches_landed"] == 0 and before["error"] is not None
    return got_nowhere or run["source"] != facts["source"]


def _failed_for_its_data(run: Row) -> bool:
    return run["state"] == "failed" and (run["failure"] or {}).get("kind") == "BadData"


def _discard(conn: psycopg.Connection, run: Row, dropped: Sequence[Row], taken_back: Sequence[int], place: Position) -> None:
    """Mark what is read again, and forget that its objects were loaded. Batches that a keyed table keeps no longer say how far the
    read is: what lies before them is read again."""
    gone = [batch for batch in dropped if batch["state"] == "landed" or batch["id"] in taken_back]
    kept = [batch["id"] for batch in dropped if batch not in gone]
    conn.execute("UPDATE ledger.batch SET state = 'discarded' WHERE id = ANY(%s)", ([batch["id"] for batch in gone],))
    conn.execute("UPDATE ledger.batch SET position = %s WHERE id = ANY(%s)", (Jsonb(place.to_json()), kept))
    uris = [uri for batch in gone for uri in batch["position"].get("items") or {}]
    conn.execute("DELETE FROM ledger.item WHERE pipeline = %s AND run_id = %s AND uri = ANY(%s)", (run["pipeline"], run["id"], uris))
