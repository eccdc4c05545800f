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


def retried(call: Callable[[], Answer]) -> Answer:
    """Call, and call again after transient failures with growing, jittered delays; the last error is raised as it is."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    waits = wait_exponential(multiplier=FIRST_DELAY_SECONDS) + wait_random(0, JITTER)
    return Retrying(retry=retry_if_exception(is_transient), stop=stop_after_attempt(RETRIES + 1), wait=waits, reraise=True)(call)
