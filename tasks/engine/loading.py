"""Loading one batch: refine it, then rows, quarantine, counts and checkpoint in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import psycopg

from tasks.batch import Batch, Counts, Position
from tasks.engine.gate import key_range
from tasks.engine.session import Session
from tasks.errors import BadData, MillraceError, Transient
from tasks.ledger import batches, runs
from tasks.ledger.registry import compare, known_columns
from tasks.refine.split import Refined, refine


def load_batch(session: Session, batch: Batch) -> Counts:
    """Refine and load a landed batch; safe to call again after any failure.

    Raises
    ------
    Transient: the connection was lost or another writer got in between; nothing was written.
    Withdrawn: a batch before this one failed for good.
    BadData: a `stop` rule, a missing column, a broken transform, or counts that do not balance.
    """
    seconds: dict[str, float] = {}
    with placed(session.pipeline.name, batch), session.gate.turn(batch.seq):
        counts = _refine_and_commit(session, batch, seconds)
    session.gate.leave(batch.seq)
    session.count(counts)
    session.log.info(
        "%s batch %s loaded: rows=%s inserted=%s updated=%s unchanged=%s duplicate=%s filtered=%s quarantined=%s seconds=%s",
        session.where,
        batch.id,
        counts.landed,
        counts.inserted,
        counts.updated,
        counts.unchanged,
        counts.duplicate,
        counts.filtered,
        counts.quarantined,
        seconds,
    )
    return counts


def _refine_and_commit(session: Session, batch: Batch, seconds: dict[str, float]) -> Counts:
    with session.timed("refine", seconds):
        refined = _refined(session, batch)
    session.gate.wait_for_keys(batch.seq, key_range(refined.good, session.pipeline.destination.key))
    with session.timed("load", seconds):
        return _commit(session, batch, refined, seconds)


def inspect_batch(session: Session, batch: Batch) -> None:
    """Refine a batch only to see whether a rule stops the run; nothing is kept. Raises BadData if one does."""
    with placed(session.pipeline.name, batch):
        _refined(session, batch)


@contextmanager
def placed(name: str, batch: Batch | None = None) -> Iterator[None]:
    """Say in every error which pipeline and batch it is about, and make one of ours of a lost connection."""
    number = batch.id if batch else None
    try:
        yield
    except MillraceError as error:
        raise error.at(pipeline=name, batch=number) from error
    except psycopg.OperationalError as error:
        raise Transient(
            f"The connection to the warehouse was lost: {str(error).strip()}",
            do="Nothing: what was not committed is done again; if it keeps happening, see whether the database restarts",
            pipeline=name,
            batch=number,
        ) from error


def _refined(session: Session, batch: Batch) -> Refined:
    landed = session.landing.read(batch.uri, batch.digest if batch.adopted else None)
    if landed.height != batch.rows:
        raise BadData(
            f"The landed file holds {landed.height} rows, the ledger says {batch.rows}",
            do="Run with full_refresh to read the source again",
            value=batch.uri,
        )
    seen = {name: str(dtype) for name, dtype in landed.schema.items()}
    _check_drift(session, seen, landed.height)
    session.source_columns |= {name: dtype for name, dtype in seen.items() if dtype != "Null" or name not in session.source_columns}
    return refine(_with_known_columns(session, landed), session.pipeline, session.references)


def _with_known_columns(session: Session, landed: pl.DataFrame) -> pl.DataFrame:
    """A batch of a sparse source, with what it was seen to send before and lacks here as nulls."""
    if not session.pipeline.source.sparse:
        return landed
    with session.warehouse.connect(autocommit=True) as conn:
        known = (known_columns(conn, session.pipeline.name) or {}) | session.source_columns
    return landed.with_columns(pl.lit(None).alias(name) for name in known if name not in landed.columns)


def _check_drift(session: Session, seen: dict[str, str], rows: int) -> None:
    """With the policy `freeze`, a source that sends anything else than before stops the run."""
    if session.pipeline.drift != "freeze":
        return
    with session.warehouse.connect(autocommit=True) as conn:
        known = known_columns(conn, session.pipeline.name)
    drifts = compare(known, seen, rows, sparse=session.pipeline.source.sparse) if known is not None else []
    if drifts:
        raise BadData(
            f"The source's schema changed, and this pipeline is frozen: {'; '.join(map(str, drifts))}",
            do="Accept it by setting drift='record' for one run, or correct the source; nothing of this batch was loaded",
            setting="drift",
        )


def _commit(session: Session, batch: Batch, refined: Refined, seconds: dict[str, float]) -> Counts:
    """One transaction: all of it or nothing (L2)."""
    name = session.pipeline.name
    with session.warehouse.connect() as conn:
        done = batches.loaded_counts(conn, batch)
        if done is not None:
            return done
        counts = refined.counts + session.pipeline.destination.load(conn, session.target, refined.good, batch.id)
        if not counts.balanced:
            raise BadData(
                f"The rows do not add up: landed {counts.landed} + derived {counts.derived}, accounted for {counts.accounted}",
                do="Nothing was loaded and the cursor stays; this is a fault of Millrace: keep the landed file and report it",
                value=counts.to_json(),
            )
        batches.fence(conn, session.run, name)
        batches.write_quarantine(conn, batch, refined.rejects, session.contract_version)
        batches.write_violations(conn, batch, refined.violations)
        reached = batches.mark_loaded(conn, batch, counts, seconds, session.contract_version, session.pipeline.version)
        if session.moves_checkpoint and session.kind == "incremental":
            runs.move_checkpoint(conn, name, session.run.id, _kept(session, reached))
        if session.kind not in ("limited", "full_refresh"):  # what a full refresh read is loaded when it is swapped in
            runs.remember_items(conn, name, session.run.id, batch.position.items)
    return counts


def _kept(session: Session, reached: Position) -> Position:
    """While a read goes on, the next run must still begin where this one did; only its place to resume moves."""
    return Position(session.run.cursor_from.cursor, {"run": session.run.id, "reached": reached.cursor})
