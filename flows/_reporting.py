"""What a run leaves in Prefect: a progress bar, a table of its counts, a page about its failure, and events."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.events import emit_event

from tasks.batch import Counts
from tasks.engine.closing import Failure, Report, told
from tasks.engine.session import Session
from tasks.pipeline import Pipeline

EVERY_SECONDS = 2.0


class RunReporter:
    """Reports one run of a pipeline; artifact keys are stable, so the UI keeps a history per pipeline.

    Parameters
    ----------
    spec: the pipeline.
    """

    def __init__(self, spec: Pipeline) -> None:
        self._spec = spec
        self._slug = spec.name.replace("_", "-").lower()
        self._progress: UUID | None = None
        self._expected: int | None = None
        self._told = 0.0
        self._mutex = threading.Lock()

    def opened(self, session: Session) -> None:
        """Start the progress bar; the last run of this kind says how many rows to expect."""
        with session.warehouse.connect(autocommit=True) as conn:
            row = conn.execute(
                "SELECT landed FROM ledger.run WHERE pipeline = %s AND kind = %s AND state = 'completed' ORDER BY id DESC LIMIT 1",
                (self._spec.name, session.kind),
            ).fetchone()
        self._expected = row[0] if row and row[0] else None
        self._progress = create_progress_artifact(0.0, key=f"progress-{self._slug}", description=f"{self._spec.name}: reading")  # type: ignore[assignment]

    def progress(self, session: Session) -> None:
        """Move the progress bar, at most every two seconds."""
        with self._mutex:
            if self._progress is None or monotonic() - self._told < EVERY_SECONDS:
                return
            self._told = monotonic()
        rows, landed = session.counts.landed, session.rows_landed
        share = 100.0 * rows / max(self._expected or landed, landed, 1)
        said = f"{self._spec.name}: {rows:,} of {landed:,} landed rows loaded"
        try:
            update_progress_artifact(self._progress, min(share, 99.0), description=said)
        except Exception as untold:  # noqa: BLE001 (told in the log; what failed is only how it is shown)
            # A progress bar is no reason to fail a load that is committed.
            session.log.warning("%s progress could not be shown in Prefect: %s", session.where, untold)

    def completed(self, report: Report) -> None:
        """The table of what became of the rows, and the event that other deployments can wait for."""
        emit_event("millrace.run.completed", resource=self._resource(), payload=report.to_json())
        for alert in report.alerts:
            emit_event("millrace.run.alert", resource=self._resource(), payload={"run": report.run, "alert": alert})
        create_table_artifact(_table(report), key=f"run-{self._slug}", description=_described(report))
        if self._progress is not None:
            update_progress_artifact(self._progress, 100.0, description=f"{self._spec.name}: {report.counts.landed:,} rows accounted for")

    def failed(self, error: BaseException, failure: Failure | None, counts: Counts | None, session: Session | None) -> None:
        """One page that explains the failure, and its event."""
        failure = failure or _before_start(self._spec.name, error)
        run = session.run.id if session else None
        emit_event(
            "millrace.run.failed",
            resource=self._resource(),
            payload={"run": run, **failure.to_json(), **(counts.to_json() if counts else {})},
        )
        create_markdown_artifact(
            _page(self._spec, failure, counts, run), key=f"failure-{self._slug}", description=f"Why {self._spec.name} failed"
        )

    def _resource(self) -> dict[str, str]:
        return {
            "prefect.resource.id": f"millrace.pipeline.{self._spec.name}",
            "prefect.resource.name": self._spec.name,
            "millrace.table": self._spec.destination.table,
        }


def _before_start(name: str, error: BaseException) -> Failure:
    message, do = told(error)
    return Failure("open", type(error).__name__, message, do, "nothing was read or written by this attempt", f"millrace run {name}")


def _table(report: Report) -> list[dict[str, Any]]:
    """Counts as the reader adds them up: what came in, what became of it, and whether it balances."""
    counts = report.counts
    rows = [{"what": "landed", "rows": counts.landed, "note": f"run {report.run}, {report.kind}, attempt {report.attempt}"}]
    if counts.derived:
        rows.append({"what": "derived", "rows": counts.derived, "note": "added or folded by the transform"})
    rows += [
        {"what": what, "rows": getattr(counts, what), "note": ""}
        for what in ("inserted", "updated", "unchanged", "duplicate", "filtered", "quarantined")
    ]
    rows.append(
        {"what": "balance", "rows": counts.landed + counts.derived - counts.accounted, "note": "0 means that every row is accounted for"}
    )
    rows += [
        {"what": what, "rows": getattr(counts, what), "note": "not part of the balance"}
        for what in ("deleted", "warned")
        if getattr(counts, what)
    ]
    return rows


def _described(report: Report) -> str:
    alerts = "".join(f"\n\n**Alert:** {alert}" for alert in report.alerts)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items() if stage != "total" and seconds >= 0.05)
    return (
        f"`{report.pipeline}` run {report.run}: {report.counts.landed:,} rows in {report.seconds['total']:.1f} s "
        f"({report.rows_per_second:,.0f} rows/s; {spent}), cursor now `{report.cursor}`{alerts}"
    )


def _page(spec: Pipeline, failure: Failure, counts: Counts | None, run: int | None) -> str:
    said = "\n".join(f"| {name} | {value:,} |" for name, value in counts.to_json().items()) if counts else ""
    table = f"\n\n| so far | rows |\n|---|---:|\n{said}" if said else ""
    return (
        f"# {spec.name}: {failure.kind}\n\n**What happened.** {failure.message}\n\n**Where.** stage {failure.stage}, run {run or 'not started'}, "
        f"{spec.source.describe()} → {spec.destination.table}\n\n**State of the data.** {failure.state[0].upper()}{failure.state[1:]}.\n\n"
        f"**What to do.** {failure.do}.\n\n```\n{failure.command}\n```{table}\n"
    )
