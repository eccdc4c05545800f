"""Rounds: every leg by each contestant in turn, on fresh databases of one server."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from blocks.embedded import Server, create_database, drop_database
from tasks.ledger.schema import ensure_ledger
from tests.benchmarks import bare
from tests.benchmarks.data import Data, Snapshot
from tests.benchmarks.measured import Measured, measured
from tests.conftest import as_warehouse

BARE, STRAIGHT, WALK, PROCESS = "psql", "load path", "whole run", "with process start"
FIRST, AGAIN, DELTA, ONLY = "first load", "re-run", "1% changed", "1% alone"


@dataclass
class Results:
    """What was measured: seconds and peak memory by leg and contestant, of all rounds."""

    rows: int
    all: dict[tuple[str, str], list[Measured]] = field(default_factory=lambda: defaultdict(list))

    def seconds(self, leg: str, who: str) -> float:
        """Median over the rounds."""
        return median(one.seconds for one in self.all[leg, who])

    def peak(self, leg: str, who: str) -> float:
        """Median peak memory, in megabytes."""
        return median(one.peak for one in self.all[leg, who]) / 1e6


def legs(data: Data) -> list[tuple[str, Snapshot]]:
    """In this order, each on what the one before left behind."""
    return [(FIRST, data.before), (AGAIN, data.before), (DELTA, data.after), (ONLY, data.only)]


def one_round(server: Server, prefect: dict[str, str], work: Path, data: Data, results: Results) -> None:
    """All legs, and within each leg all contestants."""
    with _databases(server, BARE, STRAIGHT, WALK) as databases:
        bare.create(databases[BARE])
        ensure_ledger(as_warehouse(databases[WALK]))
        shutil.rmtree(work / "state", ignore_errors=True)
        for leg, snapshot in legs(data):
            results.all[leg, BARE].append(bare.load(databases[BARE], snapshot.csv))
            _settle(server)
            results.all[leg, STRAIGHT].append(_straight(databases[STRAIGHT], snapshot))
            _settle(server)
            whole = _walk(databases[WALK], prefect, work / "state", leg, snapshot)
            results.all[leg, PROCESS].append(whole)
            results.all[leg, WALK].append(Measured(float(whole.output.split()[-1]), whole.peak, whole.output))
            _settle(server)


def _straight(server: Server, snapshot: Snapshot) -> Measured:
    """The load path; its own seconds instead of the process's."""
    environment = {"MILLRACE_WAREHOUSE_URL": as_warehouse(server).dsn.get_secret_value()}
    run = measured([sys.executable, "-m", "tests.benchmarks.straight", snapshot.parquet], environment)
    return Measured(float(run.output.split()[-1]), run.peak, run.output)


def _walk(server: Server, prefect: dict[str, str], state: Path, leg: str, snapshot: Snapshot) -> Measured:
    """The whole governed run in a process of its own; it prints the seconds of the flow: Prefect, landing, contract, ledger and all."""
    source = state / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    (source / f"{leg}.parquet").hardlink_to(snapshot.parquet)
    environment = {"MILLRACE_WAREHOUSE_URL": as_warehouse(server).dsn.get_secret_value(), "MILLRACE_STATE": str(state)}
    return measured([sys.executable, "-m", "tests.benchmarks.lineitem"], prefect | environment)


def _settle(server: Server) -> None:
    """Nobody pays for what another left in the write-ahead log."""
    with server.connect("postgres") as conn:
        conn.execute("CHECKPOINT")


@contextmanager
def _databases(server: Server, *names: str) -> Iterator[dict[str, Server]]:
    made = {name: create_database(server, f"bench_{uuid.uuid4().hex}") for name in names}
    try:
        yield made
    finally:
        for database in made.values():
            drop_database(database)
