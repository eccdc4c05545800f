"""A flow that does not end by itself."""

import time

from prefect import flow


@flow
def sleeping(seconds: float = 600) -> None:
    """Sleep."""
    time.sleep(seconds)
