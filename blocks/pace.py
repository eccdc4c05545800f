"""A budget of requests per second, shared by threads."""

from __future__ import annotations

import threading
import time


class Pace:
    """Spaces calls evenly; each caller waits for its own turn, outside the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, per_second: float) -> None:
        """Wait until the next call is due at this rate."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 1 / per_second
        time.sleep(max(0.0, turn - now))
