"""How a Polars type becomes a PostgreSQL type, and a column becomes the bytes that a binary COPY carries: said once, here."""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.errors import Misconfigured

_PLAIN: dict[Any, str] = {
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.Int128: "numeric(38,0)",
    pl.UInt8: "smallint",
    pl.UInt16: "integer",
    pl.UInt32: "bigint",
    pl.UInt64: "numeric(20,0)",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.Boolean: "boolean",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Null: "text",
    pl.Binary: "bytea",
    pl.Date: "date",
    pl.Time: "time without time zone",
    pl.Duration: "interval",
    pl.List: "jsonb",
    pl.Array: "jsonb",
    pl.Struct: "jsonb",
}

NESTED = (pl.List, pl.Array, pl.Struct)
"""Types that are stored as jsonb."""


def pg_type(dtype: pl.DataType, column: str = "") -> str:
    """PostgreSQL type of a Polars type, spelled as PostgreSQL's `format_type` spells it.

    Raises
    ------
    Misconfigured: the type has no place in a table (Object, Float16, UInt128 …).
    """
    if isinstance(dtype, pl.Decimal):
        return f"numeric({dtype.precision or 38},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "timestamp with time zone" if dtype.time_zone else "timestamp without time zone"
    found = _PLAIN.get(dtype.base_type())
    if found is None:
        raise Misconfigured(
            f"Column {column!r} is of type {dtype}, for which PostgreSQL has no type here",
            do="Declare another type in the contract, such as text or a number, and cast to it in the transform.",
            setting="contract",
        )
    return found


def as_json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A nested column as JSON text; null stays null."""
    # Polars encodes structs only: a list is wrapped into {"v":…}, and the wrapping cut off
    wrapped = pl.struct(v=pl.col(name)).struct.json_encode().str.slice(5).str.head(-1)
    text = pl.col(name).struct.json_encode() if isinstance(dtype, pl.Struct) else wrapped
    return pl.when(pl.col(name).is_not_null()).then(text).alias(name)


def canonical(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column as the table will give it back: microseconds, plain text; what is hashed, compared and written.

    Times finer than a microsecond are cut to it, which is all that PostgreSQL keeps.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime | pl.Duration):
        return column.dt.cast_time_unit("us")
    if isinstance(dtype, pl.Time):
        return (column.to_physical() // 1000 * 1000).cast(pl.Time).alias(name)
    if isinstance(dtype, pl.Int128):
        return column.cast(pl.Decimal(38, 0))
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null):
        return column.cast(pl.String)
    return column


def wire(name: str, dtype: pl.DataType) -> pl.Expr:
    """A canonical column in a type whose binary COPY bytes are those of `pg_type(dtype)`.

    Binary COPY carries bytes without types, so a `time` travels as the microseconds that it is made of,
    and a jsonb as its text after a version byte.
    """
    if isinstance(dtype, NESTED):
        return pl.concat_str(pl.lit("\x01"), as_json(name, dtype)).alias(name)
    if isinstance(dtype, pl.Time):
        return pl.col(name).to_physical() // 1000
    return pl.col(name)
