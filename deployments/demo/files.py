"""The first road: flights as monthly files in a folder, compressed, with missing values spelled NA."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl

from deployments.demo.data import flights_as_text

FLIGHTS_FOLDER = Path("demo/flights")
"""Where the files lie, below the state folder."""


def write_flight_files(state: Path) -> list[Path]:
    """Write `2013-01.csv.gz` … `2013-12.csv.gz` where they are missing; a second call changes nothing. Returns all twelve paths."""
    folder = state / FLIGHTS_FOLDER
    paths = [folder / f"2013-{month:02}.csv.gz" for month in range(1, 13)]
    if not all(path.exists() for path in paths):
        _write_months(folder, flights_as_text())
    return paths


def reissue_flight_files(state: Path) -> list[Path]:
    """Replace every file by one with the same flights in another order, as a publisher does who sends everything again.

    The files' digests change and not one record does, so a sync reads all of them and must find all of them unchanged.
    Done twice, the files are as they were at first. Returns the paths.
    """
    paths = write_flight_files(state)
    for path in paths:
        _replace(path, pl.read_csv(path, infer_schema=False).reverse())
    return paths


def _write_months(folder: Path, flights: pl.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (month,), rows in flights.partition_by("month", as_dict=True).items():
        _replace(folder / f"2013-{int(month):02}.csv.gz", rows)


def _replace(path: Path, rows: pl.DataFrame) -> None:
    """Write a whole file under a name that no reader looks for, then give it its own name in one step."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    unfinished.write_bytes(gzip.compress(rows.write_csv().encode(), compresslevel=3, mtime=0))
    os.replace(unfinished, path)
