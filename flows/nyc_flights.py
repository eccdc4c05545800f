"""Every flight that left New York in 2013, from the monthly files that arrive in a folder."""

import polars as pl

from flows import pipeline
from tasks import Contract, Csv, Field, Files, Upsert, Utc, rule


class Flight(Contract):
    """One scheduled departure; clock times are local, as HHMM. A cancelled flight has no times and no delays."""

    time_hour: Utc
    carrier: str = Field(references="raw.nyc_airlines.carrier")
    flight: int = Field(gt=0, description="flight number")
    origin: str = Field(isin=["EWR", "JFK", "LGA"], references="raw.nyc_airports.faa")
    dest: str = Field(references="raw.nyc_airports.faa")
    tailnum: str = Field(nullable=True, references="raw.nyc_planes.tailnum")
    sched_dep_time: int = Field(ge=0, le=2400)
    dep_time: int = Field(nullable=True, ge=0, le=2400)
    dep_delay: int = Field(nullable=True, ge=-120, le=2880, description="minutes; early is negative")
    sched_arr_time: int = Field(ge=0, le=2400)
    arr_time: int = Field(nullable=True, ge=0, le=2400)
    arr_delay: int = Field(nullable=True, ge=-180, le=2880, description="minutes; early is negative")
    air_time: int = Field(nullable=True, gt=0, description="minutes")
    distance: int = Field(ge=50, severity="warn", description="miles")

    @rule()
    def cancelled_flights_do_not_arrive(cls) -> pl.Expr:
        """Without a departure there is no arrival."""
        return pl.col("dep_time").is_not_null() | pl.col("arr_time").is_null()

    @rule(severity="warn")
    def is_slower_than_sound(cls) -> pl.Expr:
        """660 miles per hour at cruising height: faster means a wrong air time."""
        return pl.col("distance") / pl.col("air_time") * 60 < 660


@pipeline(
    extract=Files("state:demo/flights", glob="*.csv.gz", csv=Csv(null_values=("", "NA"))),
    contract=Flight,
    load=Upsert("raw.nyc_flights", key=("time_hour", "carrier", "flight", "origin")),
)
def nyc_flights(page: pl.LazyFrame) -> pl.LazyFrame:
    """Flights, one row per scheduled departure."""
    return page
