"""`python -m tests.benchmarks`: first load, re-run, 1% changed and 1% alone, as ratios to bare psql in the same rounds, with peak memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from blocks.settings import settings
from tests.benchmarks import data, rounds, servers
from tests.benchmarks.measured import keep_bytecode
from tests.benchmarks.rounds import AGAIN, BARE, DELTA, FIRST, ONLY, PROCESS, STRAIGHT, WALK, Results

WARM_UP_ROWS = 10_000
TITLES = ("rows", "leg", "psql s", "load path s", "× psql", "whole run s", "× psql", "rows/s", "with process start s", "× psql", "peak MB")
HEAD = f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}"


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 6_000_000], help="sizes of the table")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median is taken")
    parser.add_argument("--folder", type=Path, default=settings().state / "benchmarks", help="where data and servers are kept")
    given = parser.parse_args()
    keep_bytecode(given.folder / "bytecode")
    with servers.postgres(given.folder / "postgres") as server, servers.prefect(given.folder / "prefect") as prefect:
        rounds.one_round(server, prefect, given.folder / "work", data.lineitem(given.folder, WARM_UP_ROWS), Results(WARM_UP_ROWS))
        print(HEAD, flush=True)
        for rows in given.rows:
            made, results = data.lineitem(given.folder, rows), Results(rows)
            for _ in range(given.rounds):
                rounds.one_round(server, prefect, given.folder / "work", made, results)
            for leg in (FIRST, AGAIN, DELTA, ONLY):
                print(line(results, leg), flush=True)


def line(results: Results, leg: str) -> str:
    """One line of the table."""
    limit, straight, walk, process = (results.seconds(leg, who) for who in (BARE, STRAIGHT, WALK, PROCESS))
    size = results.rows // 100 if leg == ONLY else results.rows
    ours = f"{straight:.2f} | {straight / limit:.2f} | {walk:.2f} | {walk / limit:.2f} | {size / walk:,.0f}"
    started = f"{process:.2f} | {process / limit:.2f} | {results.peak(leg, WALK):.0f}"
    return f"| {results.rows:,} | {leg} | {limit:.2f} | {ours} | {started} |"


if __name__ == "__main__":
    main()
