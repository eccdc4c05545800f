"""A read that is interrupted goes on behind the last batch, or starts over; either way each row is there once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.engine.plain import run_plainly
from tasks.engine.session import Parameters
from tasks.errors import MillraceError, Transient
from tasks.load.append import Append
from tasks.pipeline import Pipeline
from tests.engine.conftest import Ask
from tests.engine.memory import Rows, page


def fails_once_at(wanted: int) -> Callable[[int], None]:
    """Fails when a page is read for the first time."""
    failed: list[int] = []

    def fail(number: int) -> None:
        if number == wanted and not failed:
            failed.append(number)
            raise Transient("the line went dead", do="wait")

    return fail


def test_interrupted_read_goes_on_behind_the_last_batch(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    source = Rows([page((1, "a", 1)), page((2, "b", 2)), page((3, "c", 3))], before=fails_once_at(2))
    counts = run_plainly(made(source=source, load=Append(f"raw.{name}"), batch_rows=1)).counts
    assert (counts.landed, counts.inserted) == (3, 3)


def test_interrupted_read_that_cannot_go_on_ends_and_is_taken_back(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    source = Rows([page((1, "a", 1)), page((2, "b", 2))], resumes=False, before=fails_once_at(1))
    spec = made(source=source, load=Append(f"raw.{name}"), batch_rows=1)
    with pytest.raises(MillraceError, match=r"cannot be read on in the middle: the line went dead.*taken back"):
        run_plainly(spec)
    assert run_plainly(spec).counts.landed == 2
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (2,)]


def test_limit_counts_no_row_twice_when_a_read_is_repeated(made: Callable[..., Pipeline]) -> None:
    source = Rows([page((1, "a", 1)), page((2, "b", 2)), page((3, "c", 3))], before=fails_once_at(1))
    assert run_plainly(made(source=source), Parameters(limit=3)).counts.landed == 3


def test_objects_read_before_a_crash_are_not_read_again(made: Callable[..., Pipeline], name: str, ask: Ask) -> None:
    source = Rows([page((1, "a", 1)), page((2, "b", 2))], resumes=False, as_items=True, before=fails_once_at(1))
    run_plainly(made(source=source, load=Append(f"raw.{name}"), batch_rows=1))
    assert ask(f"SELECT id FROM raw.{name} ORDER BY 1") == [(1,), (2,)]
