"""Polars frames in and out of PostgreSQL without a Python loop over rows: binary COPY in, one aggregate per column out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import psycopg
from psycopg import sql

from tasks.load.columns import wire

_SLICE_ROWS = 16_384
_EPOCH_DAYS = 10_957
_EPOCH_MICROSECONDS = 946_684_800_000_000


def copy_in(conn: psycopg.Connection, table: sql.Composable, frame: pl.DataFrame) -> None:
    """Write all rows of the frame into the columns of the same names; nothing is committed.

    Raises
    ------
    psycopg.Error: the table refuses a row; none of them is in the table then.
    """
    import pyarrow as pa
    from pgpq import ArrowToPostgresBinaryEncoder

    if frame.is_empty():
        return
    ready = frame.select(wire(name, dtype) for name, dtype in frame.schema.items())
    arrow = ready.to_arrow(compat_level=pl.CompatLevel.newest())
    for index, field in enumerate(arrow.schema):
        if field.type == pa.binary_view():  # the encoder knows strings as views, bytes not
            arrow = arrow.set_column(index, field.name, arrow.column(index).cast(pa.large_binary()))
    encoder = ArrowToPostgresBinaryEncoder(arrow.schema)
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, columns)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(encoder.write_header())
        for slice_ in arrow.to_batches(max_chunksize=_SLICE_ROWS):
            copy.write(encoder.write_batch(slice_))
        copy.write(encoder.finish())


def fetch(conn: psycopg.Connection, columns: Sequence[tuple[str, pl.DataType]], rows: sql.Composable) -> pl.DataFrame:
    """Read columns of a query as a frame, in the same transaction, as one value per column.

    The server glues the binary forms of a column together, so a million rows arrive as a few buffers (under a gigabyte each).

    Parameters
    ----------
    columns: names and types to read; Int*, Boolean, Date, Datetime, Time, String, Binary and, by way of text, Decimal and UInt64.
    rows: a query that yields columns of these names.
    """
    aggregates = [part for name, dtype in columns for part in _aggregates(name, dtype)]
    statement = sql.SQL("SELECT count(*)::int4, {} FROM ({}) AS fetched").format(sql.SQL(", ").join(aggregates), rows)
    with conn.cursor(binary=True) as cursor:
        values = list(cursor.execute(statement).fetchone() or [0])
    count, buffers = int(values[0]), [value or b"" for value in values[1:]]
    return pl.DataFrame([_column(count, name, dtype, buffers[3 * i : 3 * i + 3]) for i, (name, dtype) in enumerate(columns)])


_FIXED: dict[str, tuple[str, str]] = {
    # Polars type → (PostgreSQL's function for the binary form, numpy type of that form)
    "Int8": ("int2send", ">i2"),
    "Int16": ("int2send", ">i2"),
    "Int32": ("int4send", ">i4"),
    "Int64": ("int8send", ">i8"),
    "UInt8": ("int2send", ">i2"),
    "UInt16": ("int4send", ">i4"),
    "UInt32": ("int8send", ">i8"),
    "Float32": ("float4send", ">f4"),
    "Float64": ("float8send", ">f8"),
    "Boolean": ("boolsend", "u1"),
    "Date": ("date_send", ">i4"),
    "Time": ("time_send", ">i8"),
}


def _fixed(dtype: pl.DataType) -> tuple[str, str] | None:
    """Send function and numpy type of a type whose values all have one width."""
    if isinstance(dtype, pl.Datetime):
        return ("timestamptz_send" if dtype.time_zone else "timestamp_send"), ">i8"
    return _FIXED.get(str(dtype))


def _aggregates(name: str, dtype: pl.DataType) -> list[sql.Composable]:
    """Three aggregates of a column: its bytes, the length of each value where lengths differ, and one byte per value that is 1 for null."""
    column, fixed = sql.Identifier(name), _fixed(dtype)
    nulls = sql.SQL(
        "CASE WHEN count({0}) < count(*) THEN string_agg(CASE WHEN {0} IS NULL THEN '\\x01' ELSE '\\x00' END::bytea, '') END"
    ).format(column)
    if fixed:
        return [sql.SQL("string_agg({}({}), '')").format(sql.SQL(fixed[0]), column), sql.SQL("NULL::bytea"), nulls]
    value = column if dtype == pl.Binary else sql.SQL("convert_to({}::text, 'UTF8')").format(column)
    lengths = sql.SQL("string_agg(int4send(octet_length({})), '')").format(value)
    return [sql.SQL("string_agg({}, ''::bytea)").format(value), lengths, nulls]


def _column(count: int, name: str, dtype: pl.DataType, buffers: Sequence[bytes]) -> pl.Series:
    """The column that `_aggregates` took apart."""
    data, lengths, nulls = buffers
    fixed = _fixed(dtype)
    values = _fixed_values(data, fixed[1], dtype) if fixed else _text_values(data, lengths, dtype)
    if nulls:  # aggregates skip nulls: spread the values over the places that are not null
        missing = pl.Series(np.frombuffer(nulls, dtype=np.uint8)).cast(pl.Boolean)
        place = (~missing).cast(pl.UInt32).cum_sum() - 1
        values = (
            values.gather(pl.select(pl.when(~missing).then(place)).to_series()) if values.len() else values.extend_constant(None, count)
        )
    return values.alias(name)


def _fixed_values(data: bytes, kind: str, dtype: pl.DataType) -> pl.Series:
    """Values of one width; PostgreSQL counts days and microseconds from 2000."""
    read = np.frombuffer(data, dtype=kind)
    native = read.astype(read.dtype.newbyteorder("="))
    if isinstance(dtype, pl.Date):
        return pl.Series(native + np.int32(_EPOCH_DAYS)).cast(dtype)
    if isinstance(dtype, pl.Datetime):
        return pl.Series(native + np.int64(_EPOCH_MICROSECONDS)).cast(pl.Datetime("us", dtype.time_zone)).cast(dtype)
    if isinstance(dtype, pl.Time):
        return pl.Series(native * 1000).cast(dtype)
    return pl.Series(native).cast(dtype)


def _text_values(data: bytes, lengths: bytes, dtype: pl.DataType) -> pl.Series:
    """Values of differing lengths, cut out of one buffer by their offsets."""
    import pyarrow as pa

    sizes = np.frombuffer(lengths, dtype=">i4").astype(np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    kind = pa.large_binary() if dtype == pl.Binary else pa.large_string()
    array = pa.Array.from_buffers(kind, len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    values = pl.Series(array)
    return values if values.dtype == dtype else values.cast(dtype)
