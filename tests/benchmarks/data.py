"""TPC-H lineitem as files, made once per size and kept: Parquet for us, CSV for psql, each as it was and with 1% of the rows changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

ROWS_PER_SCALE = 6_000_000
KEY = ("l_orderkey", "l_linenumber")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the source, in both forms."""

    parquet: Path
    csv: Path


@dataclass(frozen=True, slots=True)
class Data:
    """The source before and after a day: all rows, all rows with 1% of them changed, and another 1% changed alone."""

    rows: int
    before: Snapshot
    after: Snapshot
    only: Snapshot


def lineitem(folder: Path, rows: int) -> Data:
    """Make the files of this many rows where they are not there yet."""
    home = folder / f"lineitem-{rows}"
    snapshots = {name: Snapshot(home / f"{name}.parquet", home / f"{name}.csv") for name in ("before", "after", "only")}
    if not home.exists():
        partial = home.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # in a process of its own: a child's peak memory counts what its parent held when it was started
        subprocess.run([sys.executable, "-m", "tests.benchmarks.data", partial, str(rows)], check=True)
        partial.rename(home)
    return Data(rows, **snapshots)


def _generate(home: Path, rows: int) -> None:
    scale = max(1, -(-rows // ROWS_PER_SCALE))
    generator = Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run([generator, "parquet", "-s", str(scale), "--tables=lineitem", f"--output-dir={home}", "--quiet"], check=True)
    before = pl.scan_parquet(home / "lineitem.parquet").head(rows).with_row_index("n")
    more = (pl.col("l_quantity") + 1).cast(pl.Decimal(15, 2))
    after = before.with_columns(l_quantity=pl.when(pl.col("n") % 100 == 42).then(more).otherwise("l_quantity"))
    only = before.filter(pl.col("n") % 100 == 77).with_columns(l_quantity=more)
    for name, frame in {"before": before, "after": after, "only": only}.items():
        frame.drop("n").sink_parquet(home / f"{name}.parquet", row_group_size=122_880)
        frame.drop("n").sink_csv(home / f"{name}.csv", include_header=False)
    (home / "lineitem.parquet").unlink()


if __name__ == "__main__":
    _generate(Path(sys.argv[1]), int(sys.argv[2]))
