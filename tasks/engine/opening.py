"""Opening a run: settings checked, lock taken, ledger and target ready, an interrupted run picked up where it was."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from subprocess import SubprocessError
from subprocess import run as run_command
from typing import Any

import psycopg
from psycopg import sql

from blocks.settings import settings as read_settings
from blocks.warehouse import find_warehouse
from tasks.engine.loading import placed
from tasks.engine.retrying import is_transient, retried
from tasks.engine.session import Parameters, Session
from tasks.errors import Misconfigured
from tasks.landing import Landing
from tasks.ledger import runs
from tasks.ledger.lineage import ensure_lineage_view
from tasks.ledger.lock import Held, Lock
from tasks.ledger.registry import contract_version
from tasks.ledger.resuming import resume
from tasks.ledger.runs import Kind
from tasks.ledger.schema import ensure_ledger
from tasks.load.destination import Target
from tasks.pipeline import Pipeline


def open_session(
    pipeline: Pipeline,
    parameters: Parameters,
    *,
    flow_run_id: str | None = None,
    log: logging.Logger | logging.LoggerAdapter[Any],
    progress: Callable[[Session], None] = lambda session: None,
) -> Session:
    """Make a run ready to walk, or raise before anything was read or written; what may pass is tried again.

    Raises
    ------
    Misconfigured: parameters, blocks, contract and table do not fit together.
    Transient: the warehouse does not answer. Held: another run holds the pipeline's lock.
    """

    def tried() -> Session:
        with placed(pipeline.name):
            return _opened(pipeline, parameters, flow_run_id, log, progress)

    def worth(error: BaseException) -> bool:
        return is_transient(error) and not isinstance(error, Held)

    return retried(tried, worth, lambda line: log.warning("%s cannot be opened yet: %s", pipeline.name, line))


def _opened(
    pipeline: Pipeline,
    parameters: Parameters,
    flow_run_id: str | None,
    log: logging.Logger | logging.LoggerAdapter[Any],
    progress: Callable[[Session], None],
) -> Session:
    kind = kind_of(pipeline, parameters)
    settings = read_settings()
    landing = Landing.at(settings.landing)
    warehouse = find_warehouse(pipeline.warehouse)
    ensure_ledger(warehouse)
    staged, partition = kind == "full_refresh", parameters.interval.name if kind == "interval" else ""
    lock = Lock(warehouse, pipeline.name, partition, whole_table=staged)
    lock.acquire(settings.lock_wait, log.info)
    try:
        with warehouse.connect() as conn:
            runs.bury(conn, pipeline.name, partition, whole_table=staged)
            conn.commit()
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (pipeline.name,))
            run = _run(conn, pipeline, kind, parameters, partition, flow_run_id)
            target = Target(pipeline.destination.table, pipeline.terms.columns, pipeline.name, run.id, staged=staged)
            if staged and (not run.continued or run.taken_back):
                pipeline.destination.discard(conn, target)
            pipeline.destination.prepare(conn, target)
            if not staged:
                _take_back(conn, target.table, run.taken_back)
            ensure_lineage_view(conn, pipeline)
            version = contract_version(conn, pipeline.name, pipeline.terms)
            adopted = runs.pending(conn, run.id)
            if run.continued:
                landing.sweep(pipeline.name, run.id, runs.landed_files(conn, run.id))
            conn.commit()
    except BaseException:
        lock.release()
        raise
    session = Session(
        pipeline=pipeline,
        parameters=parameters,
        kind=kind,
        run=run,
        target=target,
        contract_version=version,
        adopted=adopted,
        warehouse=warehouse,
        landing=landing,
        settings=settings,
        lock=lock,
        log=log,
        progress=progress,
    )
    begun = f"attempt {run.attempt}, going on with {len(adopted)} landed batches" if run.continued else f"cursor {run.cursor_from.cursor}"
    log.info("%s opened: kind=%s source=%s table=%s %s", session.where, kind, pipeline.source.describe(), target.table, begun)
    return session


def kind_of(pipeline: Pipeline, parameters: Parameters, *, dry: bool = False) -> Kind:
    """What sort of run the parameters ask for; raises Misconfigured where they contradict each other or the pipeline.

    Parameters
    ----------
    dry: nothing will be written, so a limit is harmless.
    """
    staged = parameters.full_refresh or pipeline.destination.always_staged
    by_key = bool(pipeline.destination.key)
    if staged and parameters.limit and not dry:
        raise _contradiction(
            pipeline, "limit", "would swap in a part of the table", "Use `millrace preview` or dry_run to look at a few rows"
        )
    if parameters.limit is not None and parameters.limit < 1:
        raise _contradiction(pipeline, "limit", "is less than one row", "Give a limit of 1 or more, or none")
    if parameters.limit and not (by_key or staged or dry):
        raise _contradiction(
            pipeline,
            "limit",
            "would load rows that the next run loads again, as they have no key",
            "Use `millrace preview` or dry_run to look at a few rows",
        )
    if getattr(pipeline.source, "since", None) is not None and not (by_key or staged):
        raise Misconfigured(
            "The source reads again from its cursor on, and Append would keep those rows twice",
            do="Use Upsert with a key, or leave since= out of the source",
            pipeline=pipeline.name,
            setting="load",
        )
    if parameters.interval and staged:
        raise _contradiction(pipeline, "start_date", "would replace the table with one window of it", "Leave the dates out, or use Upsert")
    if parameters.interval and getattr(pipeline.source, "since", None) is None:
        raise _contradiction(
            pipeline, "start_date", "needs a source with since=, by which rows have dates", "Leave the dates out, or add since="
        )
    if parameters.start_date and parameters.end_date and parameters.start_date >= parameters.end_date:
        raise _contradiction(pipeline, "end_date", "is not after start_date", "Give a window that is not empty; its end is not included")
    if staged:
        return "full_refresh"
    if parameters.interval:
        return "interval"
    return "limited" if parameters.limit else "incremental"


def _contradiction(pipeline: Pipeline, setting: str, what: str, do: str) -> Misconfigured:
    return Misconfigured(f"The parameter {setting} {what}", do=do, pipeline=pipeline.name, setting=setting)


def _run(
    conn: psycopg.Connection, pipeline: Pipeline, kind: Kind, parameters: Parameters, partition: str, flow_run_id: str | None
) -> runs.Run:
    """A new run, or the interrupted one that has the same task."""
    now = versions(pipeline)
    facts = {
        "partition": partition,
        "source": pipeline.source.describe(),
        "destination": f"{type(pipeline.destination).__name__} {pipeline.destination.table}",
        "versions": now,
        "rows_before": _rows(conn, pipeline.destination.table) if kind == "full_refresh" else None,
        "flow_run_id": flow_run_id,
    }
    asked = parameters.to_json()
    found = runs.interrupted(conn, pipeline.name, kind, asked, now)
    if found is not None:
        return resume(conn, found, facts, keyed=bool(pipeline.destination.key))
    if kind != "incremental":
        runs.abandon(conn, pipeline.name, kind, partition)
    return runs.start(conn, pipeline.name, kind, asked, facts)


def _take_back(conn: psycopg.Connection, table: str, batches: Sequence[int]) -> None:
    """Remove the rows of batches that are read again, from a table that would not know them by a key."""
    if batches:
        schema, _, name = table.partition(".")
        conn.execute(sql.SQL("DELETE FROM {} WHERE _batch = ANY(%s)").format(sql.Identifier(schema, name)), (list(batches),))


def _rows(conn: psycopg.Connection, table: str) -> int | None:
    """Rows in the target, None where it does not exist."""
    schema, _, name = table.partition(".")
    row = conn.execute("SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s", (schema, name)).fetchone()
    if row is None:
        return None
    counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))).fetchone()
    return counted[0] if counted else None


def versions(pipeline: Pipeline) -> dict[str, str | None]:
    """What made the rows: contract, pipeline code, commit, and the libraries that matter."""
    return {
        "contract": pipeline.terms.digest,
        "pipeline": pipeline.version,
        "commit": _commit(),
        **{name: importlib.metadata.version(name) for name in ("millrace", "polars", "pandera", "prefect")},
    }


@cache
def _commit() -> str | None:
    """The checkout's commit, where there is one and git knows it."""
    try:
        answer = run_command(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False, cwd=Path(__file__).parent
        )
    except (OSError, SubprocessError):
        return None
    return answer.stdout.strip() or None
