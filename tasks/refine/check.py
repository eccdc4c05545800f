"""Checks of typed rows: Pandera's rules, references and what PostgreSQL cannot hold, as one frame of failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from tasks.contract import Contract, Severity, Terms, terms
from tasks.errors import Misconfigured
from tasks.refine.cast import cast_columns, json_text
from tasks.refine.references import Lookup

FAILURES = {"at": pl.UInt32, "column": pl.String, "rule": pl.String, "value": pl.String, "severity": pl.String}
"""Schema of a frame of failures: `at` is the row's place in the checked frame; one line per row and broken rule."""

NUL_IN_JSON = r"(^|[^\\])(\\\\)*\\u0000"
"""U+0000 as JSON text writes it: its backslash is not itself behind one that escapes it."""


def check(frame: pl.DataFrame, contract: type[Contract], lookup: Lookup, key: Sequence[str] = ()) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cast a frame to its contract and check every rule.

    Parameters
    ----------
    frame: holds at least the contract's columns.
    lookup: answers references.
    key: columns that must not be null because the loader knows rows by them.

    Returns the typed frame (all rows, all columns) and the failures.
    """
    promised = terms(contract)
    typed, lost = cast_columns(frame, promised.columns)
    failures = [
        _failures(mask, column, f"type {typed.schema[column]}", frame.get_column(column), promised.null_severities[column])
        for column, mask in lost.items()
    ]
    failures += [_pandera(typed, contract, promised, lost)]
    failures += list(_nul_characters(typed, promised))
    failures += list(_null_keys(typed, key, promised))
    for reference in promised.references:
        values = typed.get_column(reference.column)
        rule = f"references {reference.table}.{reference.target}"
        failures.append(_failures(lookup.missing(reference, values), reference.column, rule, values, reference.severity))
    # PostgreSQL's jsonb cannot hold U+0000, so the value shown spells it; the raw input keeps it.
    return typed, pl.concat(failures).with_columns(pl.col("value").str.replace_all("\x00", "\\0", literal=True))


def _failures(mask: pl.Series, column: str, rule: str, values: pl.Series, severity: Severity) -> pl.DataFrame:
    """Failures of one rule: the rows where `mask` is true."""
    at = mask.arg_true()
    shown = values.gather(at)
    if shown.dtype == pl.Binary:  # bytes need not be text
        shown = shown.bin.encode("base64")
    text = (
        shown.cast(pl.String)
        if not shown.dtype.is_nested()
        else pl.Series([str(value) for value in shown.head(1000)] + [""] * max(0, len(shown) - 1000))
    )
    return pl.DataFrame(
        {"at": at.cast(pl.UInt32), "value": text.str.slice(0, 1000)},
        schema={"at": pl.UInt32, "value": pl.String},
    ).select("at", pl.lit(column).alias("column"), pl.lit(rule).alias("rule"), "value", pl.lit(severity).alias("severity"))


def _pandera(typed: pl.DataFrame, contract: type[Contract], promised: Terms, lost: Iterable[str]) -> pl.DataFrame:
    """Failures that Pandera finds; nulls that come of a failed cast are not reported twice."""
    from pandera.errors import SchemaErrors

    try:
        contract.validate(typed.select(column.name for column in promised.columns), lazy=True)
        return pl.DataFrame(schema=FAILURES)
    except SchemaErrors as errors:
        cases: pl.DataFrame = errors.failure_cases
    _refuse_broken_rules(cases, contract)
    cases = cases.filter(~((pl.col("check") == "not_nullable") & pl.col("column").is_in(list(lost))))
    over_columns = pl.col("schema_context") == "DataFrameSchema"
    severities = [
        {"column": column, "number": number, "severity": severity} for (column, number), severity in promised.severities.items()
    ] + [{"column": column, "number": -1, "severity": severity} for column, severity in promised.null_severities.items()]
    known = pl.DataFrame(severities, schema={"column": pl.String, "number": pl.Int32, "severity": pl.String})
    return (
        cases.with_columns(
            column=pl.when(over_columns).then(None).otherwise("column"),
            value=pl.when(over_columns).then(None).otherwise("failure_case"),
            number=pl.col("check_number").fill_null(-1).cast(pl.Int32),
        )
        .join(known, on=["column", "number"], how="left", nulls_equal=True)
        .select(
            pl.col("index").cast(pl.UInt32).alias("at"),
            "column",
            pl.col("check").cast(pl.String).alias("rule"),
            pl.col("value").cast(pl.String).str.slice(0, 1000),
            pl.col("severity").fill_null("quarantine"),
        )
    )


def _refuse_broken_rules(cases: pl.DataFrame, contract: type[Contract]) -> None:
    """A failure without a row is a rule that raised, or one that Pandera judges for the frame as a whole: no row may pass it unseen."""
    broken = cases.filter(pl.col("index").is_null())
    if broken.is_empty():
        return
    first = broken.row(0, named=True)
    where = f"column {first['column']!r}" if first["schema_context"] == "Column" else "the rows"
    raise Misconfigured(
        f"The rule {first['check']} of {contract.__name__} on {where} cannot be checked row by row: {str(first['failure_case']).partition(chr(10))[0]}",
        do="Correct the rule so that it gives true or false for each row; nothing of this batch was loaded",
        setting=contract.__name__,
    )


def _nul_characters(typed: pl.DataFrame, promised: Terms) -> Iterable[pl.DataFrame]:
    """PostgreSQL text and jsonb cannot hold U+0000; such a row is bad, not the whole batch."""
    for column in promised.columns:
        values = typed.get_column(column.name)
        if column.dtype == pl.String:
            mask = values.str.contains("\x00", literal=True)
        elif column.dtype.is_nested():
            mask = json_text(values).str.contains(NUL_IN_JSON)
        else:
            continue
        if mask.any():
            yield _failures(mask.fill_null(False), column.name, "no NUL characters", values, "quarantine")


def _null_keys(typed: pl.DataFrame, key: Sequence[str], promised: Terms) -> Iterable[pl.DataFrame]:
    """A key column that the contract calls nullable still must not be null: no row could be found by it again."""
    nullable = {column.name for column in promised.columns if column.nullable}
    for column in key:
        values = typed.get_column(column)
        if column in nullable and values.null_count():
            yield _failures(values.is_null(), column, "key is not null", values, "quarantine")
