"""Refining a batch: what is loaded, what is rejected with its reasons, and a count that loses no row."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import polars as pl

from tasks.batch import Counts
from tasks.contract import Contract, terms
from tasks.errors import BadData, MillraceError, Misconfigured
from tasks.pipeline import Pipeline
from tasks.refine.cast import holds_bytes, json_text
from tasks.refine.check import check
from tasks.refine.references import Lookup

REJECTS = {"row": pl.UInt32, "raw": pl.String, "errors": pl.String}
"""Schema of rejects: the row's place in its batch, its raw input as JSON, its errors as a JSON list."""


@dataclass(frozen=True, slots=True)
class Refined:
    """A refined batch, in memory only.

    Parameters
    ----------
    good: the contract's columns, typed, and `_row`.
    rejects: see `REJECTS`.
    counts: landed, derived, filtered, quarantined and warned are set; the loader adds the rest.
    violations: rows per broken rule: column, rule, severity, rows, sample value.
    """

    good: pl.DataFrame
    rejects: pl.DataFrame
    counts: Counts
    violations: pl.DataFrame


def refine(landed: pl.DataFrame, pipeline: Pipeline, lookup: Lookup) -> Refined:
    """Check, transform, check and split one landed batch.

    Raises
    ------
    BadData: a required column is missing, the transform failed, or a `stop` rule was broken.
    Misconfigured: the transform lost `_row` without saying that it aggregates, or a cast does not exist.
    """
    if "_row" in landed.columns:
        raise Misconfigured(
            "The source has a column _row, the name that links each row to its input",
            do="Give it another name in the source's query, or leave it out",
            setting="extract",
        )
    raw = landed.with_row_index("_row")
    failures: list[pl.DataFrame] = []
    accepted = raw
    if pipeline.accepts is not None:
        accepted, failed = check(complete(raw, pipeline.accepts, "the source"), pipeline.accepts, lookup)
        failures.append(failed.with_columns(row=accepted.get_column("_row").gather(failed.get_column("at"))))
        accepted = _without(accepted, failed)
    shaped = _transform(accepted, pipeline)
    typed, failed = check(
        complete(shaped, pipeline.contract, "the transform's output"), pipeline.contract, lookup, pipeline.destination.key
    )
    failures.append(failed.with_columns(row=typed.get_column("_row").gather(failed.get_column("at"))))
    good = _without(typed, failed).select(*(column.name for column in pipeline.terms.columns), "_row")
    all_failures = pl.concat(failures)
    _stop(all_failures, raw)
    if pipeline.aggregates:
        good = good.with_columns(_row=pl.lit(None, pl.UInt32))
    surviving = shaped.height if pipeline.aggregates else shaped.get_column("_row").n_unique()
    counts = Counts(
        landed=raw.height,
        derived=shaped.height - accepted.height if pipeline.aggregates else shaped.height - surviving,
        filtered=0 if pipeline.aggregates else accepted.height - surviving,
        quarantined=(raw.height - accepted.height) + (typed.height - good.height),
        warned=_warned(failed),
    )
    if pipeline.aggregates:  # an output row has no one input row: the quarantine keeps it as the transform made it
        parts = [_rejects(each, shaped if number == len(failures) - 1 else raw) for number, each in enumerate(failures)]
        return Refined(good, pl.concat(parts), counts, _violations(all_failures))
    return Refined(good, _rejects(all_failures, raw), counts, _violations(all_failures))


def complete(frame: pl.DataFrame, contract: type[Contract], where: str) -> pl.DataFrame:
    """Add nullable columns that are absent as nulls; an absent required column is an error that says what was there."""
    absent = [column for column in terms(contract).columns if column.name not in frame.columns]
    required = [column.name for column in absent if not column.nullable]
    if required:
        seen = ", ".join(name for name in frame.columns if name != "_row")
        raise BadData(
            f"{where[0].upper()}{where[1:]} has no column {', '.join(map(repr, required))}, which {contract.__name__} promises; it has: {seen}",
            do="See whether the source renamed it; correct the transform or the contract, then run again: nothing of this batch was loaded",
            setting=contract.__name__,
        )
    return frame.with_columns(pl.lit(None, dtype=column.dtype).alias(column.name) for column in absent)


def _transform(accepted: pl.DataFrame, pipeline: Pipeline) -> pl.DataFrame:
    """Run the user's transform; whatever it raises becomes an error that names the pipeline."""
    try:
        shaped = pipeline.transform(accepted.lazy())
        if not isinstance(shaped, pl.LazyFrame):
            raise Misconfigured(
                f"The transform of {pipeline.name} returned {type(shaped).__name__}",
                do="Return the LazyFrame that it was given, changed",
                setting="transform",
            )
        frame = shaped.collect()
    except MillraceError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise BadData(
            f"The transform failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}. The batch has these columns: {', '.join(accepted.columns)}",
            do=f"Try `millrace preview {pipeline.name}`, mend the transform, run again: nothing of this batch was loaded",
            setting="transform",
        ) from error
    if pipeline.aggregates:
        return frame.drop("_row", strict=False).with_row_index("_row")
    if "_row" not in frame.columns:
        raise Misconfigured(
            "The transform dropped the column _row, which links each row to its input",
            do="Use with_columns, or keep _row in select, or declare aggregates=True if rows are folded",
            setting="transform",
        )
    rows = frame.get_column("_row")
    if not rows.dtype.is_integer() or rows.null_count() or not rows.is_in(accepted.get_column("_row").implode()).all():
        raise Misconfigured(
            "The transform changed the column _row, which links each row to its input",
            do="Leave _row as it is; rows that come of no single input row need aggregates=True",
            setting="transform",
        )
    return frame.with_columns(pl.col("_row").cast(pl.UInt32))


def _without(frame: pl.DataFrame, failures: pl.DataFrame) -> pl.DataFrame:
    """The frame less the rows that failed a rule that is not `warn`."""
    out = failures.filter(pl.col("severity") != "warn").get_column("at")
    if out.is_empty():
        return frame
    keep = pl.Series([True]).new_from_index(0, frame.height).scatter(out.unique(), False)
    return frame.filter(keep)


def _stop(failures: pl.DataFrame, raw: pl.DataFrame) -> None:
    stopping = failures.filter(pl.col("severity") == "stop")
    if stopping.is_empty():
        return
    first = stopping.row(0, named=True)
    where = f"column {first['column']!r}" if first["column"] else "the row"
    raise BadData(
        f"{stopping.get_column('row').n_unique()} of {raw.height} rows break a rule that stops the run: {where} breaks {first['rule']}",
        do="Correct the source, or lower the rule's severity, then run again: nothing was loaded",
        row=first["row"],
        value=first["value"],
    )


def _rejects(failures: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """One line per rejected row: its raw input and every rule that it breaks, as JSON."""
    rejecting = failures.filter(pl.col("severity") != "warn").select("row").unique()
    if rejecting.is_empty():
        return pl.DataFrame(schema=REJECTS)
    reasons = (
        failures.join(rejecting, on="row")
        .select("row", error=pl.struct("column", "rule", "value", "severity").struct.json_encode())
        .group_by("row")
        .agg(errors=pl.lit("[") + pl.col("error").unique(maintain_order=True).str.join(", ") + pl.lit("]"))
    )
    inputs = raw.join(rejecting, left_on="_row", right_on="row", how="semi")
    return (
        inputs.select(pl.col("_row").alias("row"), raw=_raw_json(inputs.drop("_row")))
        .join(reasons, on="row")
        .select(pl.col("row").cast(pl.UInt32), "raw", "errors")
        .sort("row")
    )


def _raw_json(frame: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object; bytes as base64, everything JSON has no form for as text."""
    strange = [_as_text(values) for values in frame.iter_columns() if _has_no_json(values)]
    plain = frame.with_columns(strange).with_columns(
        pl.col(pl.Binary).bin.encode("base64"), pl.col(pl.Decimal, pl.Date, pl.Time, pl.Datetime, pl.Duration).cast(pl.String)
    )
    return json_text(plain.to_struct("raw"))


def _has_no_json(values: pl.Series) -> bool:
    """Bytes within nested values, and numbers that JSON cannot write."""
    if values.dtype.is_float():
        return not (values.is_finite() | values.is_null()).all()
    return values.dtype.is_nested() and holds_bytes(values.dtype)


def _as_text(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        return values.cast(pl.String)
    said = [
        None
        if value is None
        else json.dumps(value, default=lambda odd: base64.b64encode(odd).decode() if isinstance(odd, bytes) else str(odd))
        for value in values.to_list()
    ]
    return pl.Series(values.name, said, dtype=pl.String)


def _warned(failures: pl.DataFrame) -> int:
    """Rows that are loaded in spite of a rule."""
    warned = failures.filter(pl.col("severity") == "warn").select("at").unique()
    return warned.join(failures.filter(pl.col("severity") != "warn"), on="at", how="anti").height


def _violations(failures: pl.DataFrame) -> pl.DataFrame:
    return failures.group_by("column", "rule", "severity", maintain_order=True).agg(
        rows=pl.col("row").n_unique(), sample=pl.col("value").first()
    )
