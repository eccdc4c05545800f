"""What PostgreSQL refuses, said as one of our errors: ordered by how one recovers, with what to do now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from tasks.errors import BadData, MillraceError, Misconfigured, Transient

_PASSING = (errors.UniqueViolation, errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable, errors.DuplicateTable)
_NUL = (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter)


@contextmanager
def explained(table: str, pipeline: str, batch: int | None = None) -> Iterator[None]:
    """Raise what PostgreSQL says inside the block as Transient, BadData or Misconfigured about this table."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error, table).at(pipeline=pipeline, batch=batch) from error


def _ours(error: psycopg.Error, table: str) -> MillraceError:
    """The error as ours; the order of the tests is from the particular to the general."""
    said = (error.diag.message_primary or str(error)).strip().splitlines()[0] if str(error) else type(error).__name__
    seen = error.diag.message_detail
    if isinstance(error, _PASSING):
        return Transient(
            f"Another writer got in between while loading {table}: {said}", do="Nothing: the batch is loaded again.", value=seen
        )
    if isinstance(error, _NUL):
        return BadData(
            f"A text for {table} holds a character that PostgreSQL cannot store (most often NUL): {said}",
            do="Remove it in the transform: pl.col(name).str.replace_all('\\0', '', literal=True).",
            value=error.diag.context,
        )
    if isinstance(error, errors.ProgramLimitExceeded):  # to psycopg an operational error, but it stays as it is
        return BadData(
            f"{table} cannot hold a value this large: {said}", do="Shorten it in the transform, or identify rows by another column."
        )
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return BadData(f"{table} refuses a row: {said}", do="Correct the row at the source, or add a rule to the contract.", value=seen)
    if isinstance(error, errors.InsufficientPrivilege):
        return Misconfigured(f"The warehouse's role may not do this to {table}: {said}", do="Grant it the right, or name another role.")
    if isinstance(error, psycopg.OperationalError):
        return Transient(f"The warehouse failed while loading {table}: {said}", do="Look at the server if this goes on.", value=seen)
    return Misconfigured(f"The warehouse refuses a statement about {table}: {said}", do="Compare the table with the contract.", value=seen)
