"""What a PostgreSQL source says about itself: columns of a query, primary keys, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from tasks.extract.keyset import NUMERIC, SourceColumn

if TYPE_CHECKING:
    import psycopg


def described(connection: psycopg.Connection, source: sql.Composable) -> list[SourceColumn]:
    """The columns of a table or query, without reading a row."""
    described = connection.execute(sql.SQL("SELECT * FROM {} AS source LIMIT 0").format(source)).description or []
    arrays = _arrays(connection, [column.type_code for column in described])
    return [
        SourceColumn(
            column.name,
            column.type_code,
            column.type_code in arrays,
            column.precision if column.type_code == NUMERIC else None,
            column.scale if column.type_code == NUMERIC and (column.scale or 0) >= 0 else None,
        )
        for column in described
    ]


def primary_key(connection: psycopg.Connection, table: str) -> tuple[str, ...]:
    """The columns of a table's primary key, in its order; empty where it has none (a view, for one)."""
    found = connection.execute(
        """
        SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        WHERE indrelid = to_regclass(%s) AND indisprimary ORDER BY array_position(indkey, attnum)
        """,
        [sql.Identifier(*table.split(".")).as_string(connection)],
    )
    return tuple(str(name) for (name,) in found)


def tables(connection: psycopg.Connection) -> list[str]:
    """Names of the tables and views that the user may read, as `schema.table`."""
    found = connection.execute(
        """
        SELECT format('%s.%s', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg_toast%'
        ORDER BY 1
        """
    )
    return [str(name) for (name,) in found]


def _arrays(connection: psycopg.Connection, oids: list[int]) -> set[int]:
    found = connection.execute("SELECT oid FROM pg_type WHERE oid = ANY (%s) AND typcategory = 'A'", [oids])
    return {int(oid) for (oid,) in found}
