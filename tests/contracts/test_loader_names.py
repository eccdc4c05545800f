"""Names in a destination are only names: whatever a column or a table is called, it never becomes SQL."""

from __future__ import annotations

import polars as pl
import pytest
from psycopg import sql

from blocks.warehouse import Warehouse
from tasks.errors import Misconfigured
from tasks.load.append import Append
from tasks.load.destination import Column, Destination, Target
from tasks.load.replace import Replace
from tasks.load.tables import Table
from tasks.load.upsert import Upsert

HOSTILE = [
    'say "hi"',
    "semi;colon -- drop",
    "{brace}%s%%",
    "ünïcödé 🚲",
    "with space",
    "SELECT",
    "Dot.ted",
    "tab\there",
    "back\\slash",
    "it's",
]


@pytest.mark.parametrize("case", ["upsert", "upsert staged", "append", "replace", "replace without key"])
def test_hostile_names_are_only_names(case: str, warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        for name in HOSTILE:
            table = f"sch {name}.{name}" if "." not in name else f"raw.{name}"
            destination: Destination = {
                "upsert": Upsert(table, key=(name,), newest="age" + name),
                "upsert staged": Upsert(table, key=(name,)),
                "append": Append(table),
                "replace": Replace(table, key=(name,)),
                "replace without key": Replace(table),
            }[case]
            columns = [Column(name, pl.String(), False, name), Column("age" + name, pl.Int64(), True)]
            target = Target(table, columns, "hostile", 1, staged="staged" in case or destination.always_staged)
            for age in (1, 2):
                destination.prepare(conn, target)
                rows = pl.DataFrame({name: ["a", "b"], "age" + name: [age, age], "_row": [0, 1]}, schema_overrides={"_row": pl.UInt32})
                destination.load(conn, target, rows, age)
                destination.finish(conn, target, None)
            found = conn.execute(sql.SQL("SELECT * FROM {}").format(Table.named(table).sql)).fetchall()
            assert {row[:2] for row in found} >= {("a", 2), ("b", 2)}, name


@pytest.mark.parametrize("table", ["orders", "raw.", ".orders", "raw." + "x" * 64, "raw.a\0b", "raw." + "ü" * 32])
def test_impossible_table_names_are_refused_at_once(table: str) -> None:
    with pytest.raises(Misconfigured):
        Append(table)


def test_longest_table_name_can_be_staged(warehouse: Warehouse) -> None:
    destination = Replace("raw." + "x" * 63)
    target = Target(destination.table, [Column("id", pl.Int64(), False)], "orders", 1, staged=True)
    rows = pl.DataFrame({"id": [1, 2], "_row": [0, 1]}, schema_overrides={"_row": pl.UInt32})
    with warehouse.connect() as conn:
        destination.prepare(conn, target)
        destination.load(conn, target, rows, 1)
        assert destination.finish(conn, target, None).inserted == 2
