"""The content hash `_hash`: 64 bits over the contract's columns, the same on every machine and in every version.

For each column that is not null its value becomes 64 bits: integers, booleans, dates and times (microseconds) as a two's complement
number, decimals of up to 18 digits as their unscaled number, floats as the bits of a double (-0.0 as 0.0, one NaN), text and bytes
as XXH3-64, longer decimals and nested values as XXH3-64 of their text. These bits, xor the XXH3-64 of the column's name, go through
splitmix64; the columns are added modulo 2^64, and the sum goes through splitmix64 once more.

From that follow: the order of the columns does not matter; null, empty and zero differ; a null adds nothing, so a new nullable
column leaves the hash of every row where it is null as it was, and the table is not rewritten when a contract grows; a column that
gets another name changes every row. Two different rows share a hash with a chance of 2^-64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl
import polars_hash as plh
from numpy.typing import NDArray

from tasks.load.columns import NESTED, as_json
from tasks.load.destination import Column

Bits = NDArray[np.uint64]
_SLICE_ROWS = 32_768
_DIGITS_OF_64_BITS = 18


def content_hash(rows: pl.DataFrame, columns: Sequence[Column]) -> pl.Series:
    """`_hash` of each row, as the Int64 that PostgreSQL stores; rows must have the columns in canonical form."""
    parts = [_slice_hash(rows.slice(at, _SLICE_ROWS), columns) for at in range(0, max(rows.height, 1), _SLICE_ROWS)]
    return pl.Series("_hash", np.concatenate(parts).view(np.int64))


def _slice_hash(rows: pl.DataFrame, columns: Sequence[Column]) -> Bits:
    """The hashes of so few rows that a column's intermediate values stay in the processor's cache."""
    total = np.zeros(rows.height, dtype=np.uint64)
    for column in columns:
        values = rows[column.name]
        if values.null_count() == rows.height:
            continue
        mixed = _splitmix(_bits(values) ^ _seed(column.name))
        if values.null_count():
            mixed[values.is_null().to_numpy()] = 0
        total += mixed
    return _splitmix(total)


@cache
def _seed(name: str) -> np.uint64:
    """What keeps equal values of two columns apart."""
    return np.uint64(pl.DataFrame({"n": [name]}).select(plh.col("n").nchash.xxh3_64()).item())


def _bits(values: pl.Series) -> Bits:
    """64 bits per value; those of a null are arbitrary."""
    name, dtype = values.name, values.dtype
    if isinstance(dtype, NESTED):
        values = values.to_frame().select(as_json(name, dtype)).to_series()
    elif isinstance(dtype, pl.Decimal):
        # The unscaled number where it fits 64 bits by its type, else its text; a contract that changes the scale changes the hash.
        values = values.to_physical().cast(pl.Int64) if dtype.precision <= _DIGITS_OF_64_BITS else values.cast(pl.String)
    elif dtype.is_float():
        return _float_bits(values.cast(pl.Float64))
    elif isinstance(dtype, pl.Time):
        values = values.to_physical() // 1000
    if values.dtype in (pl.String, pl.Binary):
        hashed = values.to_frame(name).select(plh.col(name).nchash.xxh3_64()).to_series()
        return hashed.fill_null(0).to_numpy()
    if values.dtype == pl.UInt64:
        return values.fill_null(0).to_numpy()
    return values.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)


def _float_bits(values: pl.Series) -> Bits:
    """Bits of doubles, with one zero and one NaN, as a database compares them."""
    doubles = values.fill_null(0.0).to_numpy() + 0.0
    doubles[np.isnan(doubles)] = np.nan
    return doubles.view(np.uint64)


def _splitmix(bits: Bits) -> Bits:
    """The finaliser of splitmix64, in place: every bit of the input moves every bit of the output."""
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits
