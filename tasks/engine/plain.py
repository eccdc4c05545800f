"""Running a pipeline without Prefect: the same engine, called plainly. For notebooks, tests and machines without a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tasks.engine.closing import Report, close_session, fail_session
from tasks.engine.loading import inspect_batch, load_batch
from tasks.engine.opening import open_session
from tasks.engine.retrying import retried
from tasks.engine.session import Parameters, Session
from tasks.engine.walk import Stages, walk
from tasks.pipeline import Pipeline

LOG = logging.getLogger("millrace")


def run_plainly(
    pipeline: Pipeline, parameters: Parameters | None = None, *, progress: Callable[[Session], None] = lambda session: None
) -> Report:
    """Run a pipeline in this process, recorded in the ledger as any other run; raises what stopped it."""
    session = open_session(pipeline, parameters or Parameters(), log=LOG, progress=progress)
    with ThreadPoolExecutor(max_workers=session.settings.loaders, thread_name_prefix="load") as pool:
        try:
            return walk(session, plain_stages(pool))
        except BaseException as error:
            fail_session(session, error, "walk")
            raise


def plain_stages(pool: ThreadPoolExecutor) -> Stages:
    """Stages as plain calls with the engine's retries; loads run on the pool."""
    return Stages(
        extract=lambda session, extraction: retried(extraction.next_batch),
        load=lambda session, batch: pool.submit(lambda: retried(lambda: load_batch(session, batch))),
        inspect=lambda session, batch: retried(lambda: inspect_batch(session, batch)),
        close=lambda session: retried(lambda: close_session(session)),
    )
