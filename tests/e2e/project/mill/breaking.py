"""A flow that always fails."""

from prefect import flow


@flow
def breaking() -> None:
    """Fail with a message that must reach people."""
    raise ValueError("the mill stream is dry")
