"""Tickets as an API gives them: the latest change wins."""

import polars as pl

from tasks import Contract, Field, Upsert, Utc

LOAD = Upsert("raw.tickets", key=("id",), newest="updated_at")


class CONTRACT(Contract):
    """A ticket."""

    id: int = Field(gt=0)
    title: str
    state: str = Field(isin=["open", "closed"])
    author: str = Field(nullable=True)
    updated_at: Utc


def transform(page: pl.LazyFrame) -> pl.LazyFrame:
    """The author's login lies in an object."""
    return page.with_columns(author=pl.col("user").struct.field("login"))
