"""Airlines that fly from New York, a full snapshot of the source database's table on every run."""

import polars as pl

from flows import pipeline
from tasks import Contract, Field, Replace, Sql


class Airline(Contract):
    """One airline by its carrier code."""

    carrier: str = Field(str_matches=r"^[0-9A-Z]{2}$", description="two-character IATA code")
    name: str = Field(str_length={"min_value": 3})


@pipeline(
    extract=Sql(database="nyc-source", table="public.airlines", key=("carrier",)),
    contract=Airline,
    load=Replace("raw.nyc_airlines", key=("carrier",)),
)
def nyc_airlines(page: pl.LazyFrame) -> pl.LazyFrame:
    """Airlines, one row per carrier; an airline that the source drops is dropped here too."""
    return page
