"""Backfill a window of time in chunks: each chunk a run of its own, remembered in the ledger, so a second launch does what is left.

The pipeline's incremental cursor is never touched. Under a worker the chunks are deployment runs, side by side on any worker;
called directly (a notebook, `python -c`) they run one after the other in this process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from time import sleep
from typing import Annotated, Any, cast
from uuid import UUID

from prefect import flow, get_client, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.runtime import deployment, flow_run
from prefect.states import Completed
from pydantic import Field

from blocks.errors import BadData, Misconfigured
from blocks.warehouse import Warehouse, find_warehouse
from flows._pipeline import PipelineFlow, spec_of
from tasks.batch import Interval
from tasks.engine.closing import Report
from tasks.engine.opening import kind_of
from tasks.engine.session import Parameters
from tasks.ledger import backfills
from tasks.ledger.backfills import Chunk
from tasks.ledger.schema import ensure_ledger

POLL_SECONDS = 2.0
CHUNK_DEPLOYMENT = "backfill_chunk/backfill_chunk"


@flow(name="backfill", flow_run_name="backfill {pipeline} {start_date:%Y-%m-%d} to {end_date:%Y-%m-%d}")
def backfill(
    pipeline: str,
    start_date: datetime,
    end_date: datetime,
    chunk: timedelta = timedelta(days=1),
    parallel: Annotated[int, Field(ge=1, le=64)] = 2,
) -> State[Any]:
    """Load a window of the past again, chunk by chunk; what is done already is not done twice.

    Args:
        pipeline: Name of the pipeline, as its file and flow are called.
        start_date: First moment of the window (UTC).
        end_date: End of the window, not included (UTC).
        chunk: Length of a chunk, as an ISO 8601 duration: P1D is a day, PT1H an hour.
        parallel: Chunks that run side by side.
    """
    log = get_run_logger()
    window = Interval(_utc(start_date), _utc(end_date))
    spec = spec_of(load_pipeline(pipeline))
    kind_of(spec, Parameters(window.start, window.end))  # a pipeline that has no windows says so once, not in every chunk
    warehouse = find_warehouse(spec.warehouse)
    number = _opened(warehouse, pipeline, window, chunk)
    with warehouse.connect(autocommit=True) as conn:
        left = [each for each in backfills.chunks(conn, number) if each.state != "done"]
    log.info("backfill %s of %s: %s chunks left", number, pipeline, len(left))
    run_all = _on_workers if deployment.id else _here
    run_all(pipeline, left, parallel)
    return _closed(warehouse, pipeline, number)


@flow(name="backfill_chunk", flow_run_name="{pipeline} {start_date:%Y-%m-%d %H:%M}")
def backfill_chunk(pipeline: str, backfill_id: int, start_date: datetime, end_date: datetime) -> None:
    """One chunk of a backfill; `backfill` starts these.

    Args:
        pipeline: Name of the pipeline.
        backfill_id: The backfill's number in the ledger.
        start_date: First moment of the chunk (UTC).
        end_date: End of the chunk, not included (UTC).
    """
    made = load_pipeline(pipeline)
    warehouse = find_warehouse(spec_of(made).warehouse)
    chunk = Chunk(backfill_id, _utc(start_date), _utc(end_date))
    with warehouse.connect() as conn:
        begun = backfills.begin_chunk(conn, chunk, flow_run.id)
    if not begun:
        get_run_logger().info("%s from %s is done already, by another launch", pipeline, chunk.start)
        return
    try:
        report = cast(Report, made(start_date=chunk.start, end_date=chunk.end))
    except BaseException as error:  # a run that is cancelled has failed as well
        with warehouse.connect() as conn:
            backfills.end_chunk(conn, chunk, None, str(error) or type(error).__name__)
        raise
    with warehouse.connect() as conn:
        backfills.end_chunk(conn, chunk, report.run, None)


def load_pipeline(name: str) -> PipelineFlow:
    """The pipeline's flow by its name; raises Misconfigured when `flows/` has none of that name."""
    try:
        made: PipelineFlow = getattr(import_module(f"flows.{name}"), name)
        spec_of(made)
    except (ModuleNotFoundError, AttributeError, TypeError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"flows.{name}".startswith(error.name or "flows"):
            raise  # the pipeline's file is there, and imports something that is not
        raise Misconfigured(
            "There is no pipeline of this name", do="Use the name of a file in flows/", setting="pipeline", value=name
        ) from error
    return made


def _opened(warehouse: Warehouse, pipeline: str, window: Interval, step: timedelta) -> int:
    if window.start is None or window.end is None or window.start >= window.end or step <= timedelta(0):
        raise Misconfigured(
            "The window or the chunk is empty",
            do="Give end_date after start_date and a positive chunk",
            pipeline=pipeline,
            value=(str(window), str(step)),
        )
    if (window.end - window.start) / step > backfills.MOST_CHUNKS:
        raise Misconfigured(
            f"The window has more than {backfills.MOST_CHUNKS:,} chunks",
            do="Give a longer chunk: P1D is a day, P7D a week",
            pipeline=pipeline,
            setting="chunk",
            value=str(step),
        )
    ensure_ledger(warehouse)
    with warehouse.connect() as conn:
        return backfills.open_backfill(conn, pipeline, window, step)


def _here(pipeline: str, left: list[Chunk], parallel: int) -> None:
    """Without workers: one chunk after the other; a failed one does not stop the others."""
    for each in left:
        backfill_chunk(pipeline, each.backfill, each.start, each.end, return_state=True)


def _on_workers(pipeline: str, left: list[Chunk], parallel: int) -> None:
    """Keep `parallel` chunk runs going until none is left."""
    waiting = list(left)
    going: list[UUID] = []
    with get_client(sync_client=True) as client:
        while waiting or going:
            while waiting and len(going) < parallel:
                going.append(_start(pipeline, waiting.pop(0)))
            sleep(POLL_SECONDS)
            going = [run for run in going if not _final(client.read_flow_run(run).state)]


def _start(pipeline: str, chunk: Chunk) -> UUID:
    started = run_deployment(
        CHUNK_DEPLOYMENT,
        parameters={
            "pipeline": pipeline,
            "backfill_id": chunk.backfill,
            "start_date": chunk.start.isoformat(),
            "end_date": chunk.end.isoformat(),
        },
        timeout=0,
        # A launch that is retried must not start the chunk twice; a later attempt of the chunk must be able to.
        idempotency_key=f"backfill-{chunk.backfill}-{chunk.start.isoformat()}-{chunk.attempts}-{flow_run.id}",
        tags=["backfill"],
    )
    return started.id  # type: ignore[union-attr]  # the synchronous form answers a FlowRun


def _final(state: State[Any] | None) -> bool:
    return state is not None and state.is_final()


def _closed(warehouse: Warehouse, pipeline: str, number: int) -> State[Any]:
    with warehouse.connect() as conn:
        after = backfills.chunks(conn, number)
        failed = [each for each in after if each.state != "done"]
        if not failed:
            backfills.end_backfill(conn, number)
    rows = [{"start": str(each.start), "end": str(each.end), "state": each.state, "attempts": each.attempts} for each in after]
    create_table_artifact(
        rows,
        key=f"backfill-{pipeline.replace('_', '-')}",
        description=f"Backfill {number} of {pipeline}: {len(after) - len(failed)} of {len(after)} chunks done",
    )
    if failed:
        raise BadData(
            f"{len(failed)} of {len(after)} chunks are not done, the first from {failed[0].start}",
            do="See the chunk runs for why; launch the same backfill again to do only these",
            pipeline=pipeline,
        )
    return Completed(message=f"{len(after)} chunks of {pipeline} are done", data=number)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
