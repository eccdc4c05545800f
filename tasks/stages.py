"""The stages as Prefect tasks: the one file of this package that imports Prefect.

A task is a batch. Handles and the open session pass between tasks, never frames; nothing is cached, hashed or persisted.
"""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import quote as _quote

from tasks.batch import Batch, Counts
from tasks.engine.closing import Report, close_session
from tasks.engine.extracting import Extraction
from tasks.engine.loading import inspect_batch, load_batch
from tasks.engine.retrying import FIRST_DELAY_SECONDS, JITTER, RETRIES, is_transient
from tasks.engine.session import Session
from tasks.engine.walk import Stages


def quote(argument: Any) -> Any:
    """Prefect's `quote`, which keeps it from walking through an argument; the task gets the argument itself."""
    return _quote(argument)


def _worth_retrying(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Prefect's form of `is_transient`: only a failure that may pass is tried again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


_OPTIONS: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(FIRST_DELAY_SECONDS),
    "retry_jitter_factor": JITTER,
    "retry_condition_fn": _worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


@task(name="extract", **_OPTIONS)
def extract(session: Session, extraction: Extraction) -> Batch | None:
    """Read the source up to one batch of rows and land it; None at the source's end."""
    return extraction.next_batch()


@task(name="load", task_run_name="load batch {number}", **_OPTIONS)
def load(session: Session, batch: Batch, number: int) -> Counts:
    """Check, transform and load one landed batch, in one transaction."""
    return load_batch(session, batch)


@task(name="inspect", **_OPTIONS)
def inspect(session: Session, batch: Batch) -> None:
    """Check one landed batch for rules that stop the run before anything is loaded."""
    inspect_batch(session, batch)


@task(name="close", **_OPTIONS)
def close(session: Session) -> Report:
    """Reconcile the run, swap what was staged, move the checkpoint."""
    return close_session(session)


def prefect_stages() -> Stages:
    """The stages for a walk inside a flow. `quote` keeps Prefect from looking into the arguments."""
    return Stages(
        extract=lambda session, extraction: extract(quote(session), quote(extraction)),
        load=lambda session, batch: load.submit(quote(session), quote(batch), batch.id),
        inspect=lambda session, batch: inspect(quote(session), quote(batch)),
        close=lambda session: close(quote(session)),
    )
