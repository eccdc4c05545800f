"""Hourly weather at the three New York airports, from a paged REST API: what was measured since the last run."""

import polars as pl

from flows import pipeline
from tasks import Contract, Field, NextCursor, Rest, Since, Upsert, Utc


class Weather(Contract):
    """One hour at one airport."""

    origin: str = Field(isin=["EWR", "JFK", "LGA"])
    time_hour: Utc
    temp: float = Field(nullable=True, ge=-60, le=130, description="degrees Fahrenheit")
    dewp: float = Field(nullable=True, ge=-80, le=100, description="dew point, degrees Fahrenheit")
    humid: float = Field(nullable=True, ge=0, le=100, description="relative humidity, percent")
    wind_dir: int = Field(nullable=True, ge=0, le=360, description="degrees")
    wind_speed: float = Field(nullable=True, ge=0, le=200, description="miles per hour")
    wind_gust: float = Field(nullable=True, ge=0, le=250, description="miles per hour")
    precip: float = Field(ge=0, le=12, description="inches in the hour")
    pressure: float = Field(nullable=True, ge=870, le=1090, description="sea level pressure, millibars")
    visib: float = Field(ge=0, le=10, description="visibility, miles")


@pipeline(
    extract=Rest(
        api="nyc", path="/weather", records="items", pages=NextCursor("meta.next_cursor"), since=Since("time_hour", param="since", lag="2d")
    ),
    contract=Weather,
    load=Upsert("raw.nyc_weather", key=("origin", "time_hour")),
)
def nyc_weather(page: pl.LazyFrame) -> pl.LazyFrame:
    """Weather, one row per airport and hour."""
    return page
