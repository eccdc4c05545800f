"""The contract: what a destination is promised, as a Pandera model in which every rule has a severity.

`Contract` is a plain `pandera.polars.DataFrameModel`, so everything Pandera offers works; `Field` and `rule` add what Pandera
has no word for: the severity of a rule and the reference to another table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args

import pandera.polars as pa
import polars as pl

from tasks.errors import Misconfigured
from tasks.load.destination import Column

Severity = Literal["quarantine", "warn", "stop"]
"""quarantine: the row is kept aside (default). warn: loaded, counted, shown. stop: the run ends before anything is loaded."""

Utc = Annotated[pl.Datetime, "us", "UTC"]
"""A moment: a timestamp with microseconds, in UTC."""


class Contract(pa.DataFrameModel):
    """Base class of contracts. A row that breaks one of its rules goes to quarantine, unless the rule says otherwise."""

    class Config:
        """Columns that the contract does not name are left to the landing."""

        strict = False


def Field(*, severity: Severity = "quarantine", references: str | None = None, **rules: Any) -> Any:
    """A column's rules: all of `pandera.Field` (`gt`, `ge`, `isin`, `str_matches`, `nullable`, `description`, …) and two more.

    Parameters
    ----------
    severity: what happens to a row that breaks one of these rules. A wrong type or a forbidden null can never be loaded,
        so there `warn` means quarantine.
    references: `schema.table.column` that must hold the value; null values are not looked up.

    Raises
    ------
    Misconfigured: the severity or the reference is not of its form.
    """
    if severity not in get_args(Severity):
        raise Misconfigured(
            "This severity does not exist", do=f"Use one of {', '.join(get_args(Severity))}", setting="severity", value=severity
        )
    if references is not None and references.count(".") != 2:
        raise Misconfigured(
            "A reference names a column of a table", do="Write it as schema.table.column", setting="references", value=references
        )
    metadata = {**rules.pop("metadata", {}), "severity": severity, "references": references}
    return pa.Field(metadata=metadata, **rules)


def rule(*, severity: Severity = "quarantine", description: str | None = None) -> Callable[[Callable[[Any], pl.Expr]], Any]:
    """A rule over several columns: decorate a method that returns a boolean Polars expression; null counts as kept.

    Parameters
    ----------
    severity: as in `Field`.
    description: what the rule means, for whoever repairs the row; the method's name when left out.
    """

    def decorate(method: Callable[[Any], pl.Expr]) -> Any:
        def check(cls: Any, data: Any) -> pl.LazyFrame:
            frame: pl.LazyFrame = data.lazyframe
            return frame.select(method(cls).fill_null(True))

        check.__name__ = method.__name__
        check.__doc__ = method.__doc__
        return pa.dataframe_check(name=method.__name__, title=severity, description=description)(check)

    return decorate


@dataclass(frozen=True, slots=True)
class Reference:
    """A column whose values must exist in another table."""

    column: str
    table: str
    target: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Terms:
    """A contract spelled out for the engine.

    Parameters
    ----------
    name: the contract's class name.
    columns: what is loaded, in order.
    severities: (column, number of the check in its column) → severity; a rule over several columns has column None.
    references: the columns that point to other tables.
    digest: identifies this wording; a changed rule, type or column gives another.
    wording: the same as JSON-able data, for the registry.
    """

    name: str
    columns: tuple[Column, ...]
    severities: dict[tuple[str | None, int], Severity]
    null_severities: dict[str, Severity]
    references: tuple[Reference, ...]
    digest: str
    wording: dict[str, Any]

    @property
    def stops(self) -> bool:
        """Whether any rule can stop the run, so that all batches are checked before the first is loaded."""
        return "stop" in {*self.severities.values(), *self.null_severities.values(), *(ref.severity for ref in self.references)}


@cache
def terms(contract: type[Contract]) -> Terms:
    """Read a contract into `Terms`; raises Misconfigured where the class cannot be understood."""
    try:
        schema = contract.to_schema()
    except Exception as error:
        raise Misconfigured(
            f"Contract {contract.__name__} cannot be read: {error}",
            do="Correct the contract's annotations and fields",
            setting=contract.__name__,
        ) from error
    if schema.drop_invalid_rows:
        raise Misconfigured(
            f"{contract.__name__} drops invalid rows, which would then be nowhere",
            do="Remove drop_invalid_rows: such rows go to quarantine",
            setting=contract.__name__,
        )
    columns: list[Column] = []
    references: list[Reference] = []
    wording: list[dict[str, Any]] = []
    severities: dict[tuple[str | None, int], Severity] = {}
    null_severities: dict[str, Severity] = {}
    for name, column in schema.columns.items():
        metadata = column.metadata or {}
        severity: Severity = metadata.get("severity") or "quarantine"
        columns.append(Column(name, _dtype(column), column.nullable, column.description or ""))
        severities.update({(name, number): severity for number, _ in enumerate(column.checks)})
        null_severities[name] = "stop" if severity == "stop" else "quarantine"
        if metadata.get("references"):
            table, _, target = metadata["references"].rpartition(".")
            references.append(Reference(name, table, target, severity))
        wording.append(
            {
                "name": name,
                "type": str(_dtype(column)),
                "nullable": column.nullable,
                "rules": [str(check.error or check.name) for check in column.checks],
                "severity": severity,
                "references": metadata.get("references"),
            }
        )
    severities.update({(None, number): check.title or "quarantine" for number, check in enumerate(schema.checks)})
    full = {"columns": wording, "rules": [{"name": check.name, "severity": check.title or "quarantine"} for check in schema.checks]}
    digest = hashlib.sha256(json.dumps(full, sort_keys=True).encode()).hexdigest()[:16]
    return Terms(contract.__name__, tuple(columns), severities, null_severities, tuple(references), digest, full)


def _dtype(column: Any) -> pl.DataType:
    """Polars type of a Pandera column, always an instance."""
    kind = column.dtype.type
    return kind if isinstance(kind, pl.DataType) else kind()
