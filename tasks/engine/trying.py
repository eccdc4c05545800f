"""Dry runs and previews: the same walk, with every transaction rolled back and nothing landed or recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import polars as pl

from blocks.settings import settings as read_settings
from blocks.warehouse import find_warehouse
from tasks.batch import Counts, Position
from tasks.engine.closing import Report
from tasks.engine.opening import kind_of
from tasks.engine.session import Parameters
from tasks.extract.source import Page, Request
from tasks.ledger import runs
from tasks.ledger.schema import ensure_ledger
from tasks.load.destination import Target
from tasks.pipeline import Pipeline
from tasks.refine.references import References
from tasks.refine.split import Refined, refine


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows on their walk.

    Parameters
    ----------
    landed: as the source gave them. refined: what the contract makes of them.
    """

    landed: pl.DataFrame
    refined: Refined


def preview(pipeline: Pipeline, rows: int = 20) -> Preview:
    """First rows of a source through transform and contract; nothing is written, the ledger included."""
    warehouse = find_warehouse(pipeline.warehouse)
    request = Request(pipeline=pipeline.name, full=True, limit=rows, batch_rows=max(rows, 1))
    frames = [page.rows for page in _pages(pipeline, request) if page.rows.height]
    landed = pl.concat(frames, how="diagonal_relaxed").head(rows) if frames else pl.DataFrame()
    return Preview(landed, refine(landed, pipeline, References(warehouse)) if frames else Refined(landed, landed, Counts(), landed))


def try_run(pipeline: Pipeline, parameters: Parameters) -> Report:
    """Read, check and load every batch, rolling each back; the counts are what a run would do now.

    Copies of a key in different batches are counted as inserted each, since no batch sees the other.
    """
    begin = perf_counter()
    kind, settings = kind_of(pipeline, parameters, dry=True), read_settings()
    warehouse = find_warehouse(pipeline.warehouse)
    ensure_ledger(warehouse)
    with warehouse.connect(autocommit=True) as conn:
        start = Position(cursor=None if kind == "full_refresh" else runs.checkpoint(conn, pipeline.name).cursor)
        seen = {} if kind == "full_refresh" else runs.seen_items(conn, pipeline.name)
    request = Request(
        pipeline=pipeline.name,
        start=start,
        interval=parameters.interval,
        seen=seen,
        full=kind == "full_refresh",
        limit=parameters.limit,
        batch_rows=pipeline.batch_rows or settings.batch_rows,
    )
    lookup = References(warehouse)
    target = Target(pipeline.destination.table, pipeline.terms.columns, pipeline.name, run=0)
    totals, size = Counts(), 0
    for page in _pages(pipeline, request):
        if page.rows.is_empty():
            continue
        refined = refine(page.rows, pipeline, lookup)
        size += int(page.rows.estimated_size())
        with warehouse.connect() as conn:
            pipeline.destination.prepare(conn, target)
            totals += refined.counts + pipeline.destination.load(conn, target, refined.good, 0)
            conn.rollback()
    return Report(pipeline.name, 0, kind, totals, {"total": round(perf_counter() - begin, 3)}, size, start.cursor, 0)


def _pages(pipeline: Pipeline, request: Request) -> Iterator[Page]:
    """The source's pages, gathered up to a batch so that small pages do not cost a transaction each, cut at the limit."""
    left, held = request.limit, []
    pages = pipeline.source.read(request)
    try:
        for page in pages:
            cut = page if left is None else replace(page, rows=page.rows.head(left))
            left = None if left is None else left - cut.rows.height
            held.append(cut)
            if sum(each.rows.height for each in held) >= request.batch_rows or left == 0:
                yield _joined(held)
                held = []
            if left == 0:
                return
    finally:
        pages.close()
    if held:
        yield _joined(held)


def _joined(pages: list[Page]) -> Page:
    frames = [page.rows for page in pages if page.rows.height] or [pages[-1].rows]
    return replace(pages[-1], rows=pl.concat(frames, how="diagonal_relaxed"))
