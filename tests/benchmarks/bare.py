"""The limit by hand: psql, a temporary table, INSERT … ON CONFLICT DO UPDATE. No check, no lineage, no recovery."""

from __future__ import annotations

from pathlib import Path

from blocks.embedded import Server
from blocks.embedded.binaries import program
from tests.benchmarks.data import KEY
from tests.benchmarks.measured import Measured, measured

NUMBERS = ("l_orderkey bigint", "l_partkey bigint", "l_suppkey bigint", "l_linenumber integer")
MONEY = tuple(f"l_{name} numeric(15,2)" for name in ("quantity", "extendedprice", "discount", "tax"))
FLAGS = ("l_returnflag text", "l_linestatus text")
DATES = ("l_shipdate date", "l_commitdate date", "l_receiptdate date")
TEXTS = ("l_shipinstruct text", "l_shipmode text", "l_comment text")
COLUMNS = (*NUMBERS, *MONEY, *FLAGS, *DATES, *TEXTS)

UPDATES = ", ".join(f"{name} = excluded.{name}" for name in (column.split()[0] for column in COLUMNS) if name not in KEY)


def create(server: Server) -> None:
    """The target table, with its primary key and all columns NOT NULL, as the pipeline's contract has them."""
    with server.connect() as conn:
        columns = ", ".join(f"{column} NOT NULL" for column in COLUMNS)
        conn.execute(f"CREATE TABLE lineitem ({columns}, PRIMARY KEY ({', '.join(KEY)}))".encode())


def load(server: Server, csv: Path) -> Measured:
    """Load one CSV file."""
    script = f"""CREATE TEMPORARY TABLE staged (LIKE lineitem);
\\copy staged FROM '{csv}' WITH (FORMAT csv)
INSERT INTO lineitem SELECT * FROM staged ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET {UPDATES};
"""
    options = [
        "--quiet",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        f"--host={server.host}",
        f"--port={server.port}",
        f"--username={server.user}",
    ]
    password = {"PGPASSWORD": server.password.get_secret_value()}
    return measured([program("psql"), *options, f"--dbname={server.database}"], password, script)
