"""The pipeline that is timed: TPC-H lineitem from Parquet files, one row per order line; as a script one run of the flow, whose seconds it prints."""

import time
from typing import Annotated

import polars as pl

from flows import pipeline
from tasks import Contract, Field, Files, Upsert, rule

Money = Annotated[pl.Decimal, 15, 2]


class LineItem(Contract):
    """A line of an order, with the checks that TPC-H promises."""

    l_orderkey: int = Field(gt=0)
    l_partkey: int = Field(gt=0)
    l_suppkey: int = Field(gt=0)
    l_linenumber: pl.Int32 = Field(ge=1, le=7)
    l_quantity: Money = Field(ge=1)
    l_extendedprice: Money
    l_discount: Money = Field(ge=0)
    l_tax: Money = Field(ge=0)
    l_returnflag: str = Field(isin=["A", "N", "R"])
    l_linestatus: str = Field(isin=["F", "O"])
    l_shipdate: pl.Date
    l_commitdate: pl.Date
    l_receiptdate: pl.Date
    l_shipinstruct: str
    l_shipmode: str = Field(str_matches="^[A-Z ]+$")
    l_comment: str

    @rule()
    def received_after_shipped(cls) -> pl.Expr:
        """Nothing arrives before it leaves."""
        return pl.col("l_receiptdate") > pl.col("l_shipdate")


@pipeline(
    extract=Files(folder="state:source", glob="*.parquet"),
    contract=LineItem,
    load=Upsert("bench.lineitem", key=("l_orderkey", "l_linenumber")),
)
def lineitem(page: pl.LazyFrame) -> pl.LazyFrame:
    """Lines of orders, one row per order and line."""
    return page


if __name__ == "__main__":
    begun = time.perf_counter()
    lineitem()
    print(time.perf_counter() - begun)
