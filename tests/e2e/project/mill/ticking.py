"""A flow that always succeeds."""

import os

from prefect import flow


@flow(log_prints=True)
def ticking(word: str = "tick", times: int = 1) -> str:
    """Say a word, some times."""
    print(os.getcwd(), word * times)
    return word * times
