"""Which batches load side by side: only those whose keys are apart, in order, and without ever standing still."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.engine.gate import Gate, KeyRange, Withdrawn, key_range

ranges = st.tuples(st.integers(0, 9), st.integers(0, 4)).map(lambda pair: ((pair[0],), (sum(pair),)))
batches = st.lists(st.tuples(st.none() | ranges, st.integers(0, 2)), min_size=1, max_size=12)


def overlap(one: KeyRange | None, other: KeyRange | None) -> bool:
    return one is not None and other is not None and not (one[1] < other[0] or other[1] < one[0])


@settings(max_examples=60, deadline=None)
@given(batches, st.integers(1, 4))
def test_batches_with_shared_keys_load_alone_and_in_order(work: list[tuple[KeyRange | None, int]], width: int) -> None:
    gate, mutex = Gate(width), threading.Lock()
    inside: set[int] = set()
    done: list[int] = []

    def load(seq: int) -> None:
        keys, failures = work[seq]
        for attempt in range(failures + 1):
            with suppress(TimeoutError), gate.turn(seq):
                gate.wait_for_keys(seq, keys)
                with mutex:
                    assert not any(overlap(keys, work[other][0]) for other in inside)
                    assert all(other in done for other in range(seq) if overlap(keys, work[other][0]))
                    inside.add(seq)
                    assert len(inside) <= width
                with mutex:
                    inside.discard(seq)
                    if attempt == failures:
                        done.append(seq)
                if attempt < failures:
                    raise TimeoutError
        gate.leave(seq)

    with ThreadPoolExecutor(width) as pool:
        loading = []
        for seq in range(len(work)):
            gate.expect(seq)
            loading.append(pool.submit(load, seq))
        for each in loading:
            each.result(timeout=30)
    assert sorted(done) == list(range(len(work)))


def test_batches_apart_load_side_by_side() -> None:
    gate, both = Gate(2), threading.Barrier(2, timeout=20)

    def load(seq: int) -> None:
        with gate.turn(seq):
            gate.wait_for_keys(seq, ((seq,), (seq,)))
            both.wait()

    gate.expect(0)
    gate.expect(1)
    with ThreadPoolExecutor(2) as pool:
        assert [each.result(timeout=30) for each in [pool.submit(load, 0), pool.submit(load, 1)]] == [None, None]


def test_batch_behind_a_failed_one_is_not_loaded_first() -> None:
    gate = Gate(2)
    gate.expect(0)
    gate.expect(1)
    with gate.turn(0):
        gate.wait_for_keys(0, ((1,), (5,)))
    gate.fail(0)
    gate.leave(0)
    with pytest.raises(Withdrawn, match="An earlier batch of this run failed"), gate.turn(1):
        gate.wait_for_keys(1, ((3,), (9,)))


def test_key_range_of_an_enumeration_follows_its_text() -> None:
    rows = pl.DataFrame({"k": ["b", "a"]}, schema={"k": pl.Enum(["b", "a"])})
    assert key_range(rows, ["k"]) == (("a",), ("b",))


def test_key_range_compares_column_by_column() -> None:
    rows = pl.DataFrame({"a": [2, 1, 1, 2], "b": [1, 9, 3, 7]})
    assert key_range(rows, ["a", "b"]) == ((1, 3), (2, 7))
