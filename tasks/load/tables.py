"""Tables in PostgreSQL as a contract wants them: made, grown by nullable columns, or refused with every difference named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import psycopg
from psycopg import sql

from tasks.errors import Misconfigured
from tasks.load.columns import pg_type
from tasks.load.destination import Column

LINEAGE = (
    Column("_batch", pl.Int32(), False, "Ledger id of the batch that last changed this row."),
    Column("_row", pl.Int32(), True, "Place of the row in that batch's landing file, from 0; null where a transform aggregates."),
    Column("_hash", pl.Int64(), False, "64-bit hash of the contract's columns; equal when nothing changed."),
)
"""What every table carries besides the contract's columns."""

_LONGEST = 63
_SYSTEM = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
_TWIN = "Millrace staging: "


@dataclass(frozen=True, slots=True)
class Table:
    """A table by schema and name; both may hold any character but NUL."""

    schema: str
    name: str

    @classmethod
    def named(cls, table: str) -> Table:
        """Parse `schema.name`; what follows the first dot is the name.

        Raises
        ------
        Misconfigured: no schema, an empty part, or a name past PostgreSQL's 63 bytes.
        """
        schema, dot, name = table.partition(".")
        if not (schema and dot and name):
            raise Misconfigured("A table is named schema.name", do="Write it as raw.issues.", setting="table", value=table)
        return cls(_checked(schema, "schema"), _checked(name, "table"))

    @property
    def sql(self) -> sql.Composable:
        """Quoted, to be put into a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def twin(self) -> Table:
        """The staging twin beside it, which a full refresh fills."""
        name = f"{self.name}__staging"
        if len(name.encode()) > _LONGEST:  # cut, and kept apart from other long names by a digest
            digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
            name = f"{self.name.encode()[:44].decode(errors='ignore')}_{digest}__staging"
        return Table(self.schema, name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """A column as the database has it."""

    type: str
    required: bool
    default: bool
    comment: str


def make_ready(conn: psycopg.Connection, table: Table, columns: Sequence[Column], key: Sequence[str], comment: str) -> None:
    """Create the table, or bring it to the contract by adding nullable columns; lineage columns and comments included.

    Raises
    ------
    Misconfigured: the table belongs to somebody else, or differs from the contract in a way that adding columns does not mend.
    """
    wanted = [*_checked_columns(columns, key), *LINEAGE]
    found = _found(conn, table)
    if found is None:
        _create(conn, table, wanted, key)
        found = {}
        _comment(conn, sql.SQL("TABLE {}").format(table.sql), comment)
    else:
        _grow(conn, table, wanted, found, key)
    for column in wanted:
        if column.description and (column.name not in found or found[column.name].comment != column.description):
            _comment(conn, sql.SQL("COLUMN {}.{}").format(table.sql, sql.Identifier(column.name)), column.description)


def make_twin(conn: psycopg.Connection, table: Table, columns: Sequence[Column], key: Sequence[str], run: int) -> None:
    """Create the empty staging twin of this run; one that another run left behind is dropped, one of this run is kept as it is.

    Raises
    ------
    Misconfigured: a table of that name exists that is no staging twin of ours.
    """
    comment = f"{_TWIN}run {run}"
    if _comment_of(conn, table.twin) != comment:
        drop_twin(conn, table)
        if _found(conn, table.twin) is not None:
            raise Misconfigured(
                f"{table.twin} exists and is not a staging table of ours",
                do=f"Rename it: {table} is refreshed through a table of that name.",
            )
        _create(conn, table.twin, [*columns, *LINEAGE], key)
        _comment(conn, sql.SQL("TABLE {}").format(table.twin.sql), comment)


def drop_twin(conn: psycopg.Connection, table: Table) -> None:
    """Drop the staging twin if there is one of ours."""
    if (_comment_of(conn, table.twin) or "").startswith(_TWIN):
        conn.execute(sql.SQL("DROP TABLE {}").format(table.twin.sql))


def _create(conn: psycopg.Connection, table: Table, columns: Sequence[Column], key: Sequence[str]) -> None:
    """CREATE TABLE, and its schema where it is missing."""
    _ensure_schema(conn, table.schema)
    parts = [_definition(column) for column in columns]
    if key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key))))
    conn.execute(sql.SQL("CREATE TABLE {} ({})").format(table.sql, sql.SQL(", ").join(parts)))


def _ensure_schema(conn: psycopg.Connection, name: str) -> None:
    """Create a schema that is missing (asked first: the right to create schemas is often not given).

    The first tables of several pipelines are often made at the same moment; they take turns, as PostgreSQL would fail all but one.
    """
    there = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
    if conn.execute(there, [name]).fetchone() is None:
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('millrace schema', 0))")
        if conn.execute(there, [name]).fetchone() is None:
            conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))


def _grow(conn: psycopg.Connection, table: Table, wanted: Sequence[Column], found: dict[str, Found], key: Sequence[str]) -> None:
    """Add what the contract gained; raise for everything else, before anything is changed."""
    foreign = [column.name for column in LINEAGE if column.name not in found]
    problems = _differences(wanted, found) + _key_difference(conn, table, key)
    if foreign:
        listed = "; ".join(problems)
        raise Misconfigured(
            f"{table} exists and was not made by Millrace (no {', '.join(foreign)}), so it is not altered. Differences: {listed}",
            do="Load into another table, or rename that one.",
            setting="table",
            value=str(table),
        )
    missing = [column for column in wanted if column.name not in found]
    if any(not column.nullable for column in missing) and _is_empty(conn, table):
        problems = [problem for problem in problems if "is required but the table lacks it" not in problem]
    if problems:
        raise Misconfigured(
            f"{table} differs from the contract: {'; '.join(problems)}",
            do="Change the contract back, alter the table by hand (ALTER TABLE … ALTER COLUMN … TYPE …), or drop it and load it anew.",
            setting="contract",
        )
    if missing:
        added = sql.SQL(", ").join(sql.SQL("ADD COLUMN {}").format(_definition(column)) for column in missing)
        conn.execute(sql.SQL("ALTER TABLE {} {}").format(table.sql, added))


def _differences(wanted: Sequence[Column], found: dict[str, Found]) -> list[str]:
    """Each difference that adding a nullable column does not mend, in words."""
    said = []
    for column in wanted:
        there, kind = found.get(column.name), pg_type(column.dtype, column.name)
        if there is None:
            if not column.nullable:
                said.append(f"column {column.name!r} ({kind}) is required but the table lacks it")
        elif there.type != kind:
            said.append(f"column {column.name!r} should be {kind}, the table has {there.type}")
        elif there.required and column.nullable:
            said.append(f"column {column.name!r} may be null in the contract, the table has NOT NULL")
    promised = {column.name for column in wanted}
    extra = (name for name, there in found.items() if name not in promised and there.required and not there.default)
    return said + [f"the table has a column {name!r} that is NOT NULL and not in the contract" for name in extra]


def _key_difference(conn: psycopg.Connection, table: Table, key: Sequence[str]) -> list[str]:
    """What is wrong with the table's primary key, if rows are found by key."""
    rows = conn.execute(
        """SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
           WHERE indrelid = %s::regclass AND indisprimary""",
        [table.sql.as_string(conn)],
    ).fetchall()
    there = {name for (name,) in rows}
    if not key or there == set(key):
        return []
    return [f"the key should be ({', '.join(key)}), the table has {'(' + ', '.join(sorted(there)) + ')' if there else 'no primary key'}"]


def _found(conn: psycopg.Connection, table: Table) -> dict[str, Found] | None:
    """The columns of the table as the database has them; None when there is no such table."""
    rows = conn.execute(
        """SELECT relkind, attname, format_type(atttypid, atttypmod), attnotnull,
                  atthasdef OR attidentity <> '', col_description(c.oid, attnum)
           FROM pg_class c LEFT JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
           WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s) AND relname = %s ORDER BY attnum""",
        [table.schema, table.name],
    ).fetchall()
    if not rows:
        return None
    if rows[0][0] not in "rp":
        raise Misconfigured(
            f"{table} is not a table (a view, an index or the like)", do="Name another table.", setting="table", value=str(table)
        )
    return {name: Found(kind, required, default, comment or "") for _, name, kind, required, default, comment in rows if name is not None}


def _checked(name: str, what: str) -> str:
    """The identifier, if PostgreSQL can hold it unchanged (it would cut a longer one silently)."""
    if not name or "\0" in name or len(name.encode()) > _LONGEST:
        raise Misconfigured(
            f"A {what} name has 1 to {_LONGEST} bytes and no NUL", do=f"Give the {what} a shorter name.", setting=what, value=name
        )
    return name


def _checked_columns(columns: Sequence[Column], key: Sequence[str]) -> Sequence[Column]:
    """The contract's columns, if a table can have them and they include the key."""
    for column in columns:
        _checked(column.name, "column")
        if column.name in _SYSTEM or column.name in {ours.name for ours in LINEAGE}:
            raise Misconfigured(
                f"Column {column.name!r} has a name that is taken", do="Give it another name in the contract.", setting="contract"
            )
    missing = set(key) - {column.name for column in columns}
    if missing:
        raise Misconfigured(
            f"The key names columns that are not in the contract: {', '.join(sorted(missing))}",
            do="Add them to the contract.",
            setting="key",
        )
    return columns


def _definition(column: Column) -> sql.Composable:
    """Name, type and NOT NULL of a column."""
    nullable = sql.SQL("" if column.nullable else " NOT NULL")
    return sql.SQL("{} {}{}").format(sql.Identifier(column.name), sql.SQL(pg_type(column.dtype, column.name)), nullable)


def _comment(conn: psycopg.Connection, on: sql.Composable, text: str) -> None:
    conn.execute(sql.SQL("COMMENT ON {} IS {}").format(on, sql.Literal(text.replace("\0", ""))))


def _comment_of(conn: psycopg.Connection, table: Table) -> str | None:
    """The comment on a table, None without comment or table."""
    found = conn.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [table.sql.as_string(conn)]).fetchone()
    return found[0] if found else None


def _is_empty(conn: psycopg.Connection, table: Table) -> bool:
    return conn.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(table.sql)).fetchone() is None
