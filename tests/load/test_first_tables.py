"""The first tables of a warehouse, made by several pipelines at the same moment."""

from __future__ import annotations

import threading

import polars as pl

from blocks.warehouse import Warehouse
from tasks.load.destination import Column, Target
from tasks.load.upsert import Upsert

COLUMNS = (Column("id", pl.Int64(), nullable=False),)


def prepare(warehouse: Warehouse, name: str, meanwhile: threading.Event) -> None:
    with warehouse.connect() as conn:
        Upsert(f"raw.{name}", key=("id",)).prepare(conn, Target(f"raw.{name}", COLUMNS, name, 1))
        meanwhile.wait(1)


def test_two_pipelines_may_make_the_schema_at_once(warehouse: Warehouse) -> None:
    pause, done = threading.Event(), threading.Event()
    done.set()
    first = threading.Thread(target=prepare, args=(warehouse, "first", pause))
    first.start()
    prepare(warehouse, "second", done)
    first.join()
    with warehouse.connect() as conn:
        assert conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'raw' ORDER BY 1").fetchall() == [("first",), ("second",)]
