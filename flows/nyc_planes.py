"""Planes of the civil registry, from the source database."""

import polars as pl

from flows import pipeline
from tasks import Contract, Field, Sql, Upsert, rule


class Plane(Contract):
    """One plane by its tail number."""

    tailnum: str = Field(str_matches=r"^N[0-9]{1,5}[A-Z]{0,2}$", description="registration")
    year: int = Field(nullable=True, ge=1927, le=2013, description="year it was built")
    type: str = Field(isin=["Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft"])
    manufacturer: str
    model: str
    engines: int = Field(ge=1, le=8)
    seats: int = Field(ge=10, severity="warn", description="fewer than 10 seats: probably another plane of the same number")
    speed: int = Field(nullable=True, gt=0, description="cruising speed, miles per hour")
    engine: str = Field(isin=["Turbo-fan", "Turbo-jet", "Turbo-prop", "Turbo-shaft", "Reciprocating", "4 Cycle"])

    @rule()
    def type_agrees_with_engines(cls) -> pl.Expr:
        """A multi-engine plane has more than one engine, a single-engine plane has one."""
        return (pl.col("type") == "Rotorcraft") | (pl.col("type").str.contains("multi") == (pl.col("engines") > 1))


@pipeline(
    extract=Sql(database="nyc-source", table="public.planes", key=("tailnum",)),
    contract=Plane,
    load=Upsert("raw.nyc_planes", key=("tailnum",)),
)
def nyc_planes(page: pl.LazyFrame) -> pl.LazyFrame:
    """Planes, one row per tail number."""
    return page
