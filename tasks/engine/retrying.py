"""How often and after how long a stage is tried again: one policy for Prefect tasks and for plain calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tasks.errors import Transient

RETRIES = 4
FIRST_DELAY_SECONDS = 1.0
JITTER = 0.5
Answer = TypeVar("Answer")


def is_transient(error: BaseException) -> bool:
    """Whether trying again can help (L12)."""
    return isinstance(error, Transient)


def retried(
    call: Callable[[], Answer],
    worth: Callable[[BaseException], bool] = is_transient,
    say: Callable[[str], None] = lambda line: None,
) -> Answer:
    """Call, and call again after transient failures with growing, jittered delays; the last error is raised as it is.

    Parameters
    ----------
    worth: which failures are tried again. say: told of each failure that is.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    def tell(state: RetryCallState) -> None:
        failed = state.outcome.exception() if state.outcome else None
        say(f"try {state.attempt_number} of {RETRIES + 1} failed and is repeated: {failed}")

    waits = wait_exponential(multiplier=FIRST_DELAY_SECONDS) + wait_random(0, JITTER)
    stop, retry = stop_after_attempt(RETRIES + 1), retry_if_exception(worth)
    return Retrying(retry=retry, stop=stop, wait=waits, before_sleep=tell, reraise=True)(call)
