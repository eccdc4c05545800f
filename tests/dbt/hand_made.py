"""The dbt project over a few hand-made rows: loaded by the real loaders, described by the real ledger."""

import importlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from blocks.warehouse import Warehouse
from tasks.contract import terms
from tasks.load.destination import Target
from tasks.load.upsert import Upsert

PROJECT = Path(__file__).parents[2] / "dbt"
CONTRACTS = {"nyc_airlines": "Airline", "nyc_airports": "Airport", "nyc_planes": "Plane", "nyc_weather": "Weather", "nyc_flights": "Flight"}

KEYS = {
    "nyc_airlines": ("carrier",),
    "nyc_airports": ("faa",),
    "nyc_planes": ("tailnum",),
    "nyc_weather": ("origin", "time_hour"),
    "nyc_flights": ("time_hour", "carrier", "flight", "origin"),
}


def at(hour: int) -> datetime:
    return datetime(2013, 1, 31, hour, tzinfo=UTC)


def flight(number: int, dest: str = "IAH", **fields: object) -> dict:
    cancelled = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"))
    clock = {"time_hour": at(10), "sched_dep_time": 500, "sched_arr_time": 800, "distance": 1400}
    return {"carrier": "UA", "flight": number, "origin": "EWR", "dest": dest, "tailnum": "N1UA"} | clock | cancelled | fields


def flown(number: int, delay: int, **fields: object) -> dict:
    return flight(number, dep_time=500, dep_delay=delay, arr_time=800, arr_delay=delay, air_time=200, **fields)


def weather(hour: int, rain: float) -> dict:
    return {"origin": "EWR", "time_hour": at(hour), "precip": rain, "visib": 10.0}


PLACE = {"lat": 40.0, "lon": -74.0, "alt": 10, "tz": -5, "dst": "A", "tzone": None}
PLANE = {"type": "Fixed wing multi engine", "manufacturer": "BOEING", "model": "737", "engines": 2, "seats": 100, "engine": "Turbo-fan"}
ROWS = {
    "nyc_airlines": [{"carrier": "UA", "name": "United Air Lines Inc."}, {"carrier": "DL", "name": "Delta Air Lines Inc."}],
    "nyc_airports": [PLACE | {"faa": code, "name": f"{code} Airport"} for code in ("EWR", "JFK", "LGA", "IAH", "ATL")],
    "nyc_planes": [PLANE | {"tailnum": "N1UA", "year": 2000, "speed": None}],
    "nyc_weather": [weather(10, 0.0), weather(11, 0.3)],
    "nyc_flights": [
        flown(1, 10),
        flown(2, 50, time_hour=at(11)),
        flown(3, -6, time_hour=at(12), tailnum=None),
        flight(4),
        flown(5, 0, dest="ATL", carrier="DL"),
    ],
}


def contract(pipeline: str):
    """The terms of a pipeline's contract."""
    return terms(getattr(importlib.import_module(f"flows.{pipeline}"), CONTRACTS[pipeline]))


def load(warehouse: Warehouse, pipeline: str, rows: list[dict]) -> None:
    """Load rows as the engine does, up to the ledger's word that a batch was loaded just now."""
    columns = contract(pipeline).columns
    frame = pl.DataFrame(rows, schema={column.name: column.dtype for column in columns}).with_row_index("_row")
    target = Target(f"raw.{pipeline}", columns, pipeline, run=1)
    loader = Upsert(target.table, key=KEYS[pipeline])
    with warehouse.connect() as conn:
        loader.prepare(conn, target)
        (run,) = conn.execute(
            "insert into ledger.run (pipeline, kind, source, destination) values (%s, 'incremental', '', '') returning id", [pipeline]
        ).fetchone()
        (batch,) = conn.execute(
            "insert into ledger.batch (run_id, pipeline, seq, uri, origin, bytes, digest, position, attempt, loaded_at)"
            " values (%s, %s, 0, '', '', 0, '', '{}', 1, now()) returning id",
            [run, pipeline],
        ).fetchone()
        loader.load(conn, target, frame, batch)


def run_dbt(warehouse: Warehouse, output: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the dbt command in a process of its own, output below `output`."""
    places = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", output / "target", "--log-path", output / "logs"]
    command = [Path(sys.executable).with_name("dbt"), *arguments, *places]
    return subprocess.run(command, env=os.environ | warehouse.dbt_env(), capture_output=True, text=True, check=False)
