"""Parquet, through pyarrow, which answers a malformed file with an error where other readers abort the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tasks.extract.opening import Unreadable

ROWS = 65_536
"""Rows that are decoded at a time."""


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """The rows as frames, types kept, dictionaries as plain values.

    Raises
    ------
    Unreadable: the file is damaged, or holds a type that cannot be read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, memory_map=False) as file:
            empty = file.schema_arrow.empty_table()
            yield _plain(empty)
            for batch in file.iter_batches(ROWS):
                yield _plain(batch)
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Unreadable(f"It is no readable Parquet file ({' '.join(str(error).split())[:300]})", "Fetch or write it again.") from error


def _plain(rows: object) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(rows))
    return frame.cast({name: pl.String for name, dtype in frame.schema.items() if isinstance(dtype, (pl.Categorical, pl.Enum))})
