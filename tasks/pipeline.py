"""A pipeline as plain data: where rows come from, what is promised, where they go. `flows.pipeline` makes a Prefect flow of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from tasks.contract import Contract, Terms, terms
from tasks.extract.source import Source
from tasks.load.destination import Destination

Transform = Callable[[pl.LazyFrame], pl.LazyFrame]
DriftPolicy = Literal["record", "freeze"]
ZeroRows = Literal["alert", "allow"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one pipeline file says.

    Parameters
    ----------
    name: file = flow = deployment name.
    source, contract, destination, transform: the walk of a batch.
    accepts: what the source promises at the boundary, checked before the transform.
    aggregates: the transform folds rows, so output rows are traced by batch and not by `_row`.
    warehouse: name of the warehouse block; None is the default one.
    batch_rows: rows per batch; None takes the setting.
    drift: `record` notes a changed source schema, `freeze` stops the run before anything is loaded.
    zero_rows: `alert` when a source that always had rows has none; `allow` where that is normal.
    version: digest of the pipeline's own file, so that a row leads back to the code that made it.
    """

    name: str
    source: Source
    contract: type[Contract]
    destination: Destination
    transform: Transform
    accepts: type[Contract] | None = None
    aggregates: bool = False
    warehouse: str | None = None
    batch_rows: int | None = None
    drift: DriftPolicy = "record"
    zero_rows: ZeroRows = "alert"
    version: str = ""

    @property
    def terms(self) -> Terms:
        """The contract, spelled out."""
        return terms(self.contract)

    @property
    def stops(self) -> bool:
        """Whether a rule may stop the run before anything is loaded."""
        return self.terms.stops or (self.accepts is not None and terms(self.accepts).stops)
