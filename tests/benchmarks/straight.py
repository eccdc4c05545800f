"""The load path alone: frames of a Parquet file through `Upsert.load`, a commit per batch, on one connection; prints its seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import polars as pl

from blocks.warehouse import find_warehouse
from tasks.load.destination import Column, Target
from tasks.load.upsert import Upsert
from tests.benchmarks.data import KEY

BATCH_ROWS = 250_000


def main(parquet: Path) -> None:
    """Load the file into `bench.straight`; reading it is not timed."""
    destination = Upsert("bench.straight", key=KEY)
    scan = pl.scan_parquet(parquet)
    target = Target(destination.table, [Column(name, dtype, False) for name, dtype in scan.collect_schema().items()], "straight", 1)
    rows, seconds = pl.scan_parquet(parquet).select(pl.len()).collect().item(), 0.0
    with find_warehouse().connect() as conn:
        for batch, start in enumerate(range(0, rows, BATCH_ROWS)):
            frame = scan.slice(start, BATCH_ROWS).with_columns(_row=pl.int_range(pl.len(), dtype=pl.UInt32)).collect()
            begun = time.perf_counter()
            if start == 0:
                destination.prepare(conn, target)
            destination.load(conn, target, frame, batch)
            conn.commit()
            seconds += time.perf_counter() - begun
    print(seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
