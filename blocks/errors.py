"""Every error that Millrace raises, ordered by how one recovers from it.

MillraceError
├── Transient      will probably pass: retried with backoff and jitter
├── BadData        the data is wrong: quarantine, dead letter or a stopped run
└── Misconfigured  a setting, a block or a table is wrong: stops at once, a person must act

The reader is a person at 3 a.m., so a message always says what happened and `do` says what to do now;
where it happened (pipeline, batch, row, setting) and the value seen are attributes, so code never parses text.
"""

from __future__ import annotations

from typing import Any


class MillraceError(Exception):
    """Base of all errors of ours; catch it to handle every failure that explains itself.

    Parameters
    ----------
    what: what happened, one sentence.
    do: what the reader should do now, one sentence.
    pipeline, batch, row, setting: where it happened, as far as known.
    value: the value seen; shown shortened, so never pass a secret.
    """

    def __init__(
        self,
        what: str,
        *,
        do: str,
        pipeline: str | None = None,
        batch: int | None = None,
        row: int | None = None,
        setting: str | None = None,
        value: object = None,
    ) -> None:
        super().__init__(what)
        self.what, self.do = what, do
        self.pipeline, self.batch, self.row = pipeline, batch, row
        self.setting, self.value = setting, value

    def at(self, *, pipeline: str | None = None, batch: int | None = None) -> MillraceError:
        """Fill in where it happened, for callers that know more than the place that raised; returns itself."""
        self.pipeline = self.pipeline or pipeline
        self.batch = self.batch if self.batch is not None else batch
        return self

    def __str__(self) -> str:
        """One line: place, what happened, the value seen, what to do."""
        place = [
            self.pipeline,
            f"batch {self.batch}" if self.batch is not None else None,
            f"row {self.row}" if self.row is not None else None,
            f"setting {self.setting}" if self.setting else None,
        ]
        where = ", ".join(part for part in place if part)
        seen = f" Value seen: {shortened(self.value)}." if self.value is not None else ""
        return f"{where + ': ' if where else ''}{self.what.rstrip('.')}.{seen} {self.do.rstrip('.')}."


class Transient(MillraceError):
    """A failure that is likely to pass: a timeout, a 429, a 5xx, a lost connection.

    Parameters
    ----------
    retry_after: seconds the other side asked us to wait, when it said so.
    """

    def __init__(self, what: str, *, do: str, retry_after: float | None = None, **place: Any) -> None:
        super().__init__(what, do=do, **place)
        self.retry_after = retry_after


class BadData(MillraceError):
    """The data itself is wrong in a way that no retry mends."""


class Misconfigured(MillraceError):
    """A setting, credential, block, contract or table is wrong; a retry would fail the same way."""


def shortened(value: object, limit: int = 200) -> str:
    """The repr of a value, cut to `limit` characters, so that one huge value cannot flood a log."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
