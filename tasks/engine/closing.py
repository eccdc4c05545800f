"""Closing a run: reconcile, swap what was staged, move the checkpoint, or record in full why it failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import psycopg
from polars.exceptions import PanicException

from tasks.batch import Counts, Position
from tasks.engine.loading import placed
from tasks.engine.session import Session
from tasks.errors import BadData, MillraceError
from tasks.ledger import batches, runs
from tasks.ledger.registry import record_schema
from tasks.ledger.runs import Kind


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did, for artifacts, the command line and callers of the flow.

    Parameters
    ----------
    seconds: per stage, summed over parallel workers; `total` is the wall clock.
    cursor: where the next run begins. alerts: what a person should look at although the run completed.
    """

    pipeline: str
    run: int
    kind: Kind
    counts: Counts
    seconds: dict[str, float]
    bytes: int
    cursor: Any
    attempt: int
    alerts: list[str] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Landed rows by wall clock."""
        return self.counts.landed / self.seconds["total"] if self.seconds.get("total") else 0.0

    def to_json(self) -> dict[str, Any]:
        """Flat dict for `--json` and events."""
        return {
            "pipeline": self.pipeline,
            "run": self.run,
            "kind": self.kind,
            "attempt": self.attempt,
            **self.counts.to_json(),
            "balanced": self.counts.balanced,
            "rows_per_second": round(self.rows_per_second),
            "seconds": self.seconds,
            "bytes": self.bytes,
            "cursor": self.cursor,
            "alerts": self.alerts,
        }


def close_session(session: Session) -> Report:
    """End a run whose batches are all loaded.

    Raises
    ------
    BadData: the run does not balance, or the swap of a staged table was refused; the cursor stays and the table is as it was.
    """
    name = session.pipeline.name
    end = session.end or session.run.cursor_from
    begin = perf_counter()
    with placed(name), session.warehouse.connect() as conn:
        done = runs.completed_counts(conn, session.run)
        if done is not None:  # the commit succeeded and its answer was lost
            session.lock.release()
            return _report(session, done, end, *runs.outcome(conn, session.run.id))
        batches.fence(conn, session.run, name)
        totals = runs.total(conn, session.run.id)
        zero = _zero_rows(session, conn, totals)
        swapped = session.pipeline.destination.finish(conn, session.target, session.run.rows_before) if session.target.staged else None
        session.seconds["swap"] += perf_counter() - begin if swapped else 0.0
        loaded = runs.loaded_batches(conn, session.run)
        columns = _columns(session, [uri for uri, _ in loaded])
        drifts = record_schema(conn, name, session.run.id, columns, totals.landed, sparse=session.pipeline.source.sparse) if columns else []
        alerts = zero + [f"drift: {drift}" for drift in drifts]
        counts = _reconciled(session, totals, swapped)
        runs.complete(conn, session.run, end, counts, _seconds(session), alerts)
        if session.moves_checkpoint and not zero:
            runs.move_checkpoint(conn, name, session.run.id, Position(cursor=end.cursor))
        if session.kind == "full_refresh":
            runs.abandon(conn, name, "incremental")
            runs.remember_items(conn, name, session.run.id, {uri: digest for _, items in loaded for uri, digest in items.items()})
        if session.kind != "limited":
            runs.remember_items(conn, name, session.run.id, session.tail_items)
        size, _ = runs.outcome(conn, session.run.id)
    session.lock.release()
    report = _report(session, counts, end, size, alerts)
    session.log.info("%s completed: %s", session.where, " ".join(f"{key}={value}" for key, value in counts.to_json().items()))
    for alert in alerts:
        session.log.warning("%s alert: %s", session.where, alert)
    return report


def _report(session: Session, counts: Counts, end: Position, size: int, alerts: list[str]) -> Report:
    return Report(
        session.pipeline.name, session.run.id, session.kind, counts, _seconds(session), size, end.cursor, session.run.attempt, alerts
    )


def _columns(session: Session, uris: list[str]) -> dict[str, str]:
    """Columns that the source sent in this run; what an earlier attempt loaded is asked of its files."""
    if not session.run.continued:
        return session.source_columns
    seen: dict[str, str] = {}
    for uri in uris:
        try:
            sent = session.landing.columns(uri)
        except BadData as gone:
            session.log.warning("%s drift is judged without one batch: %s", session.where, gone)
            sent = {}
        seen |= {name: dtype for name, dtype in sent.items() if dtype != "Null" or name not in seen}
    return seen


def _reconciled(session: Session, totals: Counts, swapped: Counts | None) -> Counts:
    """The run's sums, checked (L1). For a staged target the swap says what became of the rows; what the batches
    updated or met again in the staging table were copies of one key within this read."""
    if swapped is not None:
        totals.duplicate += totals.updated + totals.unchanged + swapped.duplicate
        totals.inserted, totals.updated, totals.unchanged, totals.deleted = (
            swapped.inserted,
            swapped.updated,
            swapped.unchanged,
            swapped.deleted,
        )
    if not totals.balanced:
        raise BadData(
            f"The run does not balance: landed {totals.landed} + derived {totals.derived}, accounted for {totals.accounted}",
            do="The cursor stays and the run counts as failed; compare ledger.batch for this run, then read all again with full_refresh",
            pipeline=session.pipeline.name,
            value=totals.to_json(),
        )
    return totals


def _seconds(session: Session) -> dict[str, float]:
    total = perf_counter() - session.started
    return {stage: round(spent, 3) for stage, spent in {**session.seconds, "total": total}.items()}


def _zero_rows(session: Session, conn: Any, totals: Counts) -> list[str]:
    """An alert where a source that always had rows has none; its cursor stays."""
    if totals.landed or session.kind != "incremental" or session.pipeline.zero_rows == "allow" or session.pipeline.source.incremental:
        return []
    row = conn.execute(
        "SELECT count(*) FROM ledger.run WHERE pipeline = %s AND state = 'completed' AND landed > 0", (session.pipeline.name,)
    ).fetchone()
    return ["zero rows where rows were expected; the cursor stays"] if row and row[0] else []


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, in the words an operator needs.

    Parameters
    ----------
    stage: what was being done. kind: the error's class. message: what happened. do: what to do now.
    state: what state the data is in. command: the command that mends or continues.
    """

    stage: str
    kind: str
    message: str
    do: str
    state: str
    command: str

    def to_json(self) -> dict[str, str]:
        """Plain dict for the ledger."""
        return {
            "stage": self.stage,
            "kind": self.kind,
            "message": self.message,
            "do": self.do,
            "state": self.state,
            "command": self.command,
        }


def told(error: BaseException) -> tuple[str, str]:
    """What happened and what to do, of any error: ours say it themselves, a signal says nothing."""
    if isinstance(error, MillraceError):
        return str(error), error.do
    if not isinstance(error, (Exception, PanicException)):
        what = f"The run was stopped from outside ({type(error).__name__}): cancelled, or its worker was shut down"
        return what, "Run again when it suits: the run goes on behind its last batch"
    return str(error), "Read the traceback in the flow run's log; run again: the run goes on behind its last batch"


def fail_session(session: Session, error: BaseException, stage: str) -> tuple[Failure, Counts]:
    """Record why a run failed and give its lock back; the error itself stays the caller's to raise."""
    counts = session.counts
    message, do = told(error)
    if session.target.staged:
        state = f"{session.target.table} is as it was before the run; {counts.accounted} rows wait in its staging table"
    else:
        state = f"{counts.accounted} of the rows read are loaded or in quarantine and stay so; the cursor has not passed what is not loaded"
    failure = Failure(stage, type(error).__name__, message, do, state, session.parameters.command(session.pipeline.name))
    try:
        with session.warehouse.connect() as conn:
            counts = runs.fail(conn, session.run, failure.to_json(), _seconds(session))
    except (MillraceError, psycopg.Error) as lost:
        # The run stays `running` in the ledger and the next attempt marks it as crashed.
        session.log.error("%s could not be marked as failed: %s", session.where, lost)
    finally:
        session.lock.release()
    return failure, counts
