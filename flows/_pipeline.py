"""`@pipeline`: a function from LazyFrame to LazyFrame becomes a Prefect flow that accounts for every record."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows._reporting import RunReporter
from tasks.contract import Contract
from tasks.engine.closing import Report, fail_session
from tasks.engine.opening import open_session
from tasks.engine.session import Parameters
from tasks.engine.trying import try_run
from tasks.engine.walk import walk
from tasks.extract.source import Source
from tasks.load.destination import Destination
from tasks.pipeline import DriftPolicy, Pipeline, Transform, ZeroRows
from tasks.stages import prefect_stages

ARGS = """
Args:
    start_date: Load only what the source dates at or after this moment (UTC). The incremental cursor is not moved.
    end_date: Load only what the source dates before this moment (UTC). The incremental cursor is not moved.
    full_refresh: Read everything into a staging table, check it, then swap it in. A failing or shrunken source changes nothing.
    limit: Read at most this many rows, as a sample. The incremental cursor is not moved.
    dry_run: Read, check and count, and write nothing at all.
"""

PipelineFlow = Flow[..., Any]


def pipeline(
    *,
    extract: Source,
    contract: type[Contract],
    load: Destination,
    accepts: type[Contract] | None = None,
    aggregates: bool = False,
    warehouse: str | None = None,
    batch_rows: int | None = None,
    drift: DriftPolicy = "record",
    zero_rows: ZeroRows = "alert",
    **options: Any,
) -> Callable[[Transform], PipelineFlow]:
    """Make a flow of a transform.

    Parameters
    ----------
    extract, contract, load: source, what is promised, destination. accepts: what the source promises, checked before the transform.
    aggregates: the transform folds rows, so output is traced by batch. warehouse: name of another warehouse block than the default.
    batch_rows: rows per batch. drift, zero_rows: see `tasks.pipeline.Pipeline`.
    options: any option of `prefect.flow`: retries, timeout_seconds, on_failure, log_prints, …
    """

    def decorate(transform: Transform) -> PipelineFlow:
        spec = Pipeline(
            name=transform.__name__,
            source=extract,
            contract=contract,
            destination=load,
            transform=transform,
            accepts=accepts,
            aggregates=aggregates,
            warehouse=warehouse,
            batch_rows=batch_rows,
            drift=drift,
            zero_rows=zero_rows,
            version=_version(transform),
        )
        return _flow(spec, options)

    return decorate


def spec_of(made: PipelineFlow) -> Pipeline:
    """The pipeline behind a flow that `@pipeline` made; raises TypeError for any other flow."""
    spec = getattr(made.fn, "pipeline", None)
    if not isinstance(spec, Pipeline):
        raise TypeError(f"{made.name} is not a pipeline: make it with @pipeline")
    return spec


def _flow(spec: Pipeline, options: dict[str, Any]) -> PipelineFlow:
    def run(
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        full_refresh: bool = False,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> State[Report]:
        parameters = Parameters(_utc(start_date), _utc(end_date), full_refresh, limit)
        report = _dry(spec, parameters) if dry_run else _walk(spec, parameters)
        return Completed(message=_summary(report, dry_run), data=report)

    transform = spec.transform
    about = inspect.getdoc(transform) or spec.name
    run.__name__, run.__qualname__, run.__module__ = spec.name, spec.name, transform.__module__
    run.__doc__ = about + "\n" + ARGS
    run.__annotations__.update(start_date=datetime | None, end_date=datetime | None, full_refresh=bool, limit=int | None, dry_run=bool)
    vars(run)["pipeline"] = spec
    chosen: dict[str, Any] = {
        "task_runner": ThreadPoolTaskRunner(),
        "version": spec.version,
        "description": about,
        "cache_result_in_memory": True,
    } | options
    made: PipelineFlow = flow(name=spec.name, **chosen)(run)
    return made


def _walk(spec: Pipeline, parameters: Parameters) -> Report:
    reporter = RunReporter(spec)
    session = None
    try:
        session = open_session(spec, parameters, flow_run_id=flow_run.id, log=get_run_logger(), progress=reporter.progress)
        _shown(spec, partial(reporter.opened, session))
        report = walk(session, prefect_stages())
    except BaseException as error:
        failure, counts = fail_session(session, error, "run") if session is not None else (None, None)
        _shown(spec, partial(reporter.failed, error, failure, counts, session))
        raise
    _shown(spec, partial(reporter.completed, report))
    return report


def _shown(spec: Pipeline, show: Callable[[], None]) -> None:
    """Show how a run stands. What cannot be shown is told in the log: it is no reason to fail a load, nor to hide why one failed."""
    try:
        show()
    except Exception as untold:  # noqa: BLE001 (told in the log; the ledger has all of it)
        get_run_logger().error("%s: its state could not be shown in Prefect: %s", spec.name, untold)


def _dry(spec: Pipeline, parameters: Parameters) -> Report:
    log = get_run_logger()
    report = try_run(spec, parameters)
    log.info("dry run of %s, nothing was written: %s", spec.name, report.counts.to_json())
    return report


def _summary(report: Report, dry_run: bool) -> str:
    counts = report.counts
    done = f"{counts.landed:,} landed: {counts.inserted:,} inserted, {counts.updated:,} updated, {counts.unchanged:,} unchanged"
    rest = f"{counts.duplicate:,} duplicate, {counts.filtered:,} filtered, {counts.quarantined:,} quarantined"
    return f"{'Dry run, nothing written. ' if dry_run else ''}{done}, {rest}"


def _utc(moment: datetime | None) -> datetime | None:
    """A date without a zone is taken as UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _version(transform: Transform) -> str:
    """Digest of the pipeline's own file; without one (a notebook), of the function's name."""
    file = inspect.getsourcefile(transform)
    code = Path(file).read_bytes() if file and Path(file).is_file() else transform.__qualname__.encode()
    return hashlib.sha256(code).hexdigest()[:16]
