"""Any frame that a contract can describe comes back equal, read with psycopg's own decoders on a second connection."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import column, dataframes

from blocks.warehouse import Warehouse
from tasks.errors import BadData, Misconfigured
from tasks.load.append import Append
from tasks.load.columns import pg_type
from tasks.load.destination import Column, Target

US = timedelta(microseconds=1)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=30)
VALUES: dict[str, tuple[Any, Any]] = {
    "i8": (pl.Int8(), None),
    "i16": (pl.Int16(), None),
    "i32": (pl.Int32(), None),
    "i64": (pl.Int64(), None),
    "u8": (pl.UInt8(), None),
    "u16": (pl.UInt16(), None),
    "u32": (pl.UInt32(), None),
    "u64": (pl.UInt64(), None),
    "f32": (pl.Float32(), st.floats(allow_nan=False, width=32)),
    "f64": (pl.Float64(), st.floats(allow_nan=False)),
    "dec": (pl.Decimal(20, 4), st.decimals(Decimal("-9999999999999999"), Decimal("9999999999999999"), places=4)),
    "tiny": (pl.Decimal(9, 9), st.decimals(Decimal("-0.999999999"), Decimal("0.999999999"), places=9)),
    "wide": (pl.Decimal(38, 0), st.decimals(Decimal(-(10**37)), Decimal(10**37), places=0)),
    "flag": (pl.Boolean(), None),
    "text": (pl.String(), TEXT),
    "bytes": (pl.Binary(), st.binary(max_size=20)),
    "day": (pl.Date(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    "at": (pl.Datetime("us", "UTC"), INSTANTS),
    "local": (pl.Datetime("us"), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))),
    "clock": (pl.Time(), st.times()),
    "span": (pl.Duration("us"), st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000))),
    "kind": (pl.Enum(["b", "a", "é"]), None),
    "list": (pl.List(pl.Int64), st.lists(st.none() | st.integers(-5, 5), max_size=3)),
    "texts": (pl.List(pl.String), st.lists(TEXT, max_size=2)),
    "struct": (pl.Struct({"x": pl.Int64, "y": pl.String}), st.fixed_dictionaries({"x": st.integers(0, 5), "y": st.none() | TEXT})),
    "deep": (pl.List(pl.Struct({"x": pl.List(pl.Int64)})), None),
}
FRAMES = dataframes(
    [column(name, dtype=dtype, strategy=strategy, allow_null=True) for name, (dtype, strategy) in VALUES.items()],
    max_size=6,
    allow_chunks=True,
)
COLUMNS = [Column(name, dtype, True) for name, (dtype, _) in VALUES.items()]


def loaded(warehouse: Warehouse, columns: list[Column], frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Append the frame to a new table, commit, and read it on another connection."""
    destination, target = Append("raw.everything"), Target("raw.everything", columns, "types", 1)
    with warehouse.connect() as conn:
        conn.execute("DROP TABLE IF EXISTS raw.everything")
        destination.prepare(conn, target)
        destination.load(conn, target, frame.with_columns(_row=pl.int_range(pl.len(), dtype=pl.UInt32)), 1)
    with warehouse.connect() as second, second.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("SELECT * FROM raw.everything ORDER BY _row").fetchall()


def read(name: str, value: Any) -> Any:
    """A value as PostgreSQL gave it back; a `real` comes as the shortest text that names it, which is not the same double."""
    return struct.unpack("f", struct.pack("f", value))[0] if name == "f32" and value is not None else value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(frame=FRAMES)
def test_every_frame_comes_back_equal(warehouse: Warehouse, frame: pl.DataFrame) -> None:
    found = loaded(warehouse, COLUMNS, frame)
    assert len(found) == frame.height
    for row, there in zip(frame.to_dicts(), found, strict=True):
        for name, value in row.items():
            assert read(name, there[name]) == value, (name, there[name], value)


def test_floats_keep_infinity_and_nan(warehouse: Warehouse) -> None:
    values = [float("inf"), float("-inf"), float("nan"), -0.0]
    found = loaded(warehouse, [Column("f", pl.Float64(), True)], pl.DataFrame({"f": values}))
    assert [str(row["f"]) for row in found] == ["inf", "-inf", "nan", "-0.0"]


def test_types_that_polars_has_and_arrow_lacks_are_written(warehouse: Warehouse) -> None:
    frame = pl.DataFrame(
        {
            "big": pl.Series([10**30, -1], dtype=pl.Int128),
            "cat": pl.Series(["x", None], dtype=pl.Categorical),
            "none": pl.Series([None, None]),
            "fine": pl.Series([1_999, None], dtype=pl.Int64).cast(pl.Datetime("ns")),
            "coarse": pl.Series([-1_500, None], dtype=pl.Int64).cast(pl.Duration("ms")),
            "pair": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
        }
    )
    found = loaded(warehouse, [Column(name, dtype, True) for name, dtype in frame.schema.items()], frame)
    values = [tuple(row[name] for name in frame.columns) for row in found]
    assert values[0] == (Decimal(10**30), "x", None, datetime(1970, 1, 1) + US, timedelta(milliseconds=-1500), [1, 2])
    assert values[1] == (Decimal(-1), None, None, None, None, None)


def test_nul_deep_in_a_structure_is_bad_data(warehouse: Warehouse) -> None:
    frame = pl.DataFrame({"s": [{"x": "a\0b"}]})
    with pytest.raises(BadData, match="NUL"):
        loaded(warehouse, [Column("s", frame.schema["s"], True)], frame)


def test_null_in_a_required_column_is_bad_data(warehouse: Warehouse) -> None:
    with pytest.raises(BadData, match="not-null"):
        loaded(warehouse, [Column("n", pl.Int64(), False)], pl.DataFrame({"n": [1, None]}, schema={"n": pl.Int64}))


def test_type_without_a_place_in_a_table_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="'thing'"):
        pg_type(pl.Object(), "thing")
