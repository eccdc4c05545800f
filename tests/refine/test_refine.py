"""Refining splits a batch: every row is good, or kept with its raw input and all its reasons."""

from __future__ import annotations

import json
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from tasks.batch import Counts
from tasks.contract import Contract, Field, Reference, rule, terms
from tasks.errors import BadData, Misconfigured
from tasks.load.append import Append
from tasks.load.upsert import Upsert
from tasks.pipeline import Pipeline
from tasks.refine.split import Refined, refine


class Order(Contract):
    """Rules of each severity."""

    id: int = Field(gt=0)
    customer: str = Field(nullable=True, references="raw.customers.id")
    state: str = Field(isin=["open", "closed"])
    total: float = Field(ge=0, nullable=True, severity="warn")

    @rule()
    def closed_orders_have_a_total(cls) -> pl.Expr:
        return (pl.col("state") != "closed") | pl.col("total").is_not_null()


class Known:
    """Customers a and b exist."""

    def missing(self, reference: Reference, values: pl.Series) -> pl.Series:
        assert (reference.table, reference.target) == ("raw.customers", "id")
        return values.is_not_null() & ~values.is_in(["a", "b"])


def refined(frame: pl.DataFrame, contract: type[Contract] = Order, **options: Any) -> Refined:
    chosen: dict[str, Any] = {"transform": lambda page: page, "destination": Upsert("raw.t", key=("id",))} | options
    return refine(frame, Pipeline(name="orders", source=None, contract=contract, **chosen), Known())  # type: ignore[arg-type] (no row is read)


def order(**changed: Any) -> dict[str, Any]:
    return {"id": 1, "customer": "a", "state": "open", "total": 2.0} | changed


def rules(result: Refined) -> dict[int, list[tuple[str | None, str]]]:
    return {row: [(error["column"], error["rule"]) for error in json.loads(errors)] for row, _, errors in result.rejects.iter_rows()}


def test_row_is_rejected_once_with_all_its_reasons() -> None:
    result = refined(pl.DataFrame([order(), order(id=-1, state="lost", customer="z")]))
    assert sorted(rules(result)[1]) == [
        ("customer", "references raw.customers.id"),
        ("id", "greater_than(0)"),
        ("state", "isin(['open', 'closed'])"),
    ]
    assert result.good["_row"].to_list() == [0]
    assert result.counts == Counts(landed=2, quarantined=1)


def test_raw_input_is_kept_with_fields_that_nobody_promised() -> None:
    result = refined(pl.DataFrame([order(id=0, unknown={"deep": [1, None]}, when="today")]))
    assert json.loads(result.rejects["raw"][0]) == order(id=0, unknown={"deep": [1, None]}, when="today")


@pytest.mark.parametrize(
    ("odd", "kept"), [(float("nan"), "NaN"), (float("inf"), "inf"), (b"\xff", "/w=="), ({"b": b"\xff"}, '{"b": "/w=="}')]
)
def test_raw_input_that_json_cannot_write_is_kept_as_text(odd: Any, kept: str) -> None:
    result = refined(pl.DataFrame([order(id=0, odd=odd)]))
    assert json.loads(result.rejects["raw"][0])["odd"] == kept


def test_row_that_breaks_a_warning_is_loaded_and_counted() -> None:
    result = refined(pl.DataFrame([order(total=-1.0)]))
    assert result.good.height == result.counts.warned == 1
    assert result.violations.select("column", "severity", "rows").rows() == [("total", "warn", 1)]


def test_rule_over_columns_names_itself() -> None:
    assert rules(refined(pl.DataFrame([order(), order(state="closed", total=None)]))) == {1: [(None, "closed_orders_have_a_total")]}


def test_nul_character_rejects_its_row() -> None:
    class Text(Contract):
        id: int
        text: str

    assert rules(refined(pl.DataFrame({"id": [1, 2], "text": ["a", "b\0"]}), Text)) == {1: [("text", "no NUL characters")]}


def test_nullable_key_column_is_still_not_null() -> None:
    class Loose(Contract):
        id: int = Field(nullable=True)

    assert rules(refined(pl.DataFrame({"id": [1, None]}), Loose)) == {1: [("id", "key is not null")]}


def test_what_the_source_must_send_is_checked_before_the_transform() -> None:
    class Sent(Contract):
        code: str = Field(str_length=2)

    result = refined(
        pl.DataFrame([order(code="ok"), order(code="bad")]), accepts=Sent, transform=lambda page: page.with_columns(id=pl.col("id") * 2)
    )
    assert rules(result) == {1: [("code", "str_length(2)")]}
    assert result.good["id"].to_list() == [2]


def test_filtered_and_exploded_rows_are_counted() -> None:
    def each(page: pl.LazyFrame) -> pl.LazyFrame:
        return page.filter(pl.col("id") != 2).explode("parts").with_columns(id="parts")

    frame = pl.DataFrame([order(id=1, parts=[10, 11, -1]), order(id=2, parts=[20])])
    result = refined(frame, transform=each)
    assert result.counts == Counts(landed=2, derived=2, filtered=1, quarantined=1)
    assert result.good["_row"].to_list() == [0, 0]


class Total(Contract):
    """What an aggregating transform makes."""

    state: str
    total: float = Field(ge=0)


def test_rejected_aggregate_is_kept_as_the_transform_made_it() -> None:
    def folded(page: pl.LazyFrame) -> pl.LazyFrame:
        return page.group_by("state", maintain_order=True).agg(pl.col("total").sum())

    frame = pl.DataFrame([order(), order(total=3.0), order(state="closed", total=-9.0)])
    result = refined(frame, Total, transform=folded, aggregates=True, destination=Append("raw.t"))
    assert json.loads(result.rejects["raw"][0]) == {"state": "closed", "total": -9.0}
    assert result.counts == Counts(landed=3, derived=-1, quarantined=1)
    assert result.good.rows() == [("open", 5.0, None)]


@pytest.mark.parametrize(
    "transform",
    [lambda page: page.drop("_row"), lambda page: page.with_columns(_row=pl.lit(99)), lambda page: page.with_columns(_row=None)],
)
def test_transform_that_breaks_the_link_to_its_input_is_refused(transform: Any) -> None:
    with pytest.raises(Misconfigured, match="_row, which links each row to its input"):
        refined(pl.DataFrame([order()]), transform=transform)


def test_source_with_a_column_called_row_is_refused() -> None:
    with pytest.raises(Misconfigured, match="The source has a column _row"):
        refined(pl.DataFrame([order(_row=1)]))


def test_transform_that_fails_says_which_columns_there_were() -> None:
    with pytest.raises(BadData, match=r"ColumnNotFoundError.*nope.*these columns: _row, id, customer, state, total"):
        refined(pl.DataFrame([order()]), transform=lambda page: page.with_columns(x=pl.col("nope")))


def test_missing_column_names_what_was_there() -> None:
    with pytest.raises(BadData, match=r"The transform's output has no column 'state', which Order promises; it has: id, customer, total"):
        refined(pl.DataFrame([order()]).drop("state"))


def test_missing_nullable_column_is_null() -> None:
    assert refined(pl.DataFrame([order()]).drop("customer")).good["customer"].to_list() == [None]


class Raises(Contract):
    """A check of the user's own that crashes."""

    id: int

    @pa.check("id")
    def explodes(cls, data: Any) -> Any:
        raise ValueError("no such thing")


class Nonsense(Contract):
    """A rule over a column that is not there."""

    id: int

    @rule()
    def looks_elsewhere(cls) -> pl.Expr:
        return pl.col("elsewhere") > 1


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        (Raises, "The rule explodes of Raises on column 'id' .*no such thing"),
        (Nonsense, "The rule looks_elsewhere of Nonsense .*elsewhere"),
    ],
)
def test_rule_that_cannot_be_checked_lets_no_row_pass(contract: type[Contract], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        refined(pl.DataFrame({"id": [1]}), contract)


def test_contract_that_drops_rows_is_refused() -> None:
    class Drops(Contract):
        id: int

        class Config:
            drop_invalid_rows = True

    with pytest.raises(Misconfigured, match="drops invalid rows, which would then be nowhere"):
        terms(Drops)


def test_enumerated_column_rejects_other_values() -> None:
    class Light(Contract):
        id: int
        colour: pl.Enum = pa.Field(dtype_kwargs={"categories": ["red", "green"]})

    frame = pl.DataFrame({"id": [1, 2], "colour": pl.Series(["red", "blue"], dtype=pl.Categorical)})
    assert rules(refined(frame, Light))[1][0][0] == "colour"


class Tagged(Contract):
    """Text that may come as bytes, and a list."""

    id: int
    name: str
    tags: pl.List = Field(dtype_kwargs={"inner": pl.String})


def test_bytes_that_are_no_text_reject_their_row_alone() -> None:
    result = refined(
        pl.DataFrame({"id": [1, 2], "name": [b"\xff", b"ok"], "tags": [[], []]}, schema_overrides={"tags": pl.List(pl.String)}), Tagged
    )
    assert rules(result) == {0: [("name", "type String")]}
    assert result.good["name"].to_list() == ["ok"]


def test_nul_within_a_nested_value_rejects_its_row_alone() -> None:
    tags = [["a\x00"], ["\\u0000"], ["\\\x00"], ["b", "c"]]
    result = refined(pl.DataFrame({"id": [0, 1, 2, 3], "name": "n", "tags": tags}), Tagged)
    assert rules(result) == {row: [("tags", "no NUL characters")] for row in (0, 2)}
    assert result.good["id"].to_list() == [1, 3]
