"""Airports of the United States, from the source database."""

import polars as pl

from flows import pipeline
from tasks import Contract, Field, Sql, Upsert, rule


class Airport(Contract):
    """One airport by its FAA code."""

    faa: str = Field(str_matches=r"^[0-9A-Z]{3}$", description="FAA code")
    name: str
    lat: float = Field(ge=-90, le=90, description="degrees north")
    lon: float = Field(ge=-180, le=180, description="degrees east")
    alt: int = Field(ge=-300, le=15_000, description="feet above sea level")
    tz: int = Field(ge=-10, le=-4, description="hours from UTC in winter; American airports lie between -10 and -4")
    dst: str = Field(isin=["A", "U", "N"], description="daylight saving: A as in the USA, N none, U unknown")
    tzone: str = Field(nullable=True, str_contains="/", description="IANA time zone")

    @rule(severity="warn")
    def lies_west_of_greenwich(cls) -> pl.Expr:
        """Only the last of the Aleutian Islands lies east; elsewhere the sign of the longitude was lost."""
        return pl.col("lon") < 0


@pipeline(
    extract=Sql(database="nyc-source", table="public.airports", key=("faa",)),
    contract=Airport,
    load=Upsert("raw.nyc_airports", key=("faa",)),
)
def nyc_airports(page: pl.LazyFrame) -> pl.LazyFrame:
    """Airports, one row per FAA code."""
    return page
