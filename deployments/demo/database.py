"""The second road: planes, airports and airlines in a source database of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

import psycopg
from psycopg import sql

from deployments.demo.data import data_folder

DATABASE = "nyc_source"
"""Name of the source database, on the embedded server."""

TABLES: Mapping[str, LiteralString] = {
    "airlines": "carrier text primary key, name text not null",
    "airports": "faa text primary key, name text, lat float8, lon float8, alt integer, tz integer, dst text, tzone text",
    "planes": (
        "tailnum text primary key, year integer, type text, manufacturer text, model text, "
        "engines integer, seats integer, speed integer, engine text"
    ),
}
"""Source tables in `public`, in the column order of the CSV files."""


def fill_source(conn: psycopg.Connection) -> dict[str, int]:
    """Create and fill the source tables in one transaction; tables that are filled already stay as they are.

    Parameters
    ----------
    conn: an open connection to the source database.

    Returns
    -------
    Rows per table.
    """
    with conn.transaction(), conn.cursor() as cur:
        return {name: _fill(cur, name, columns) for name, columns in TABLES.items()}


def _fill(cur: psycopg.Cursor, name: str, columns: LiteralString) -> int:
    table = sql.Identifier("public", name)
    cur.execute(sql.SQL("create table if not exists {} ({})").format(table, sql.SQL(columns)))
    if not _count(cur, table):
        with cur.copy(sql.SQL("copy {} from stdin (format csv, header match, null 'NA')").format(table)) as copy:
            copy.write((data_folder() / f"{name}.csv").read_bytes())
    return _count(cur, table)


def _count(cur: psycopg.Cursor, table: sql.Identifier) -> int:
    row = cur.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
    return int(row[0]) if row else 0
