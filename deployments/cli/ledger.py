"""Reading the ledger for the commands that only look: nothing is created, and a project where nothing ran is no error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

NOTHING_YET = "Nothing has run here yet. Start with `millrace list` and `millrace run NAME`, or see `millrace demo`."


@contextmanager
def ledger() -> Iterator[psycopg.Connection | None]:
    """A read-only connection to the ledger of the default warehouse; None where no run has made one yet.

    Raises
    ------
    Misconfigured, Transient: the warehouse cannot be found or does not answer.
    """
    from blocks.warehouse import find_warehouse
    from deployments.cli.server import use_server

    use_server()
    if _never_used():
        yield None
        return
    from tasks.ledger.schema import ensure_ledger, version

    warehouse = find_warehouse()
    if version(warehouse) is None:
        yield None
        return
    ensure_ledger(warehouse)
    with warehouse.connect(autocommit=True, application_name="millrace reading") as conn:
        conn.read_only = True
        yield conn


def _never_used() -> bool:
    """Whether the warehouse would be an embedded PostgreSQL that does not exist yet; looking must not make one."""
    from blocks.saved import prefect_api
    from blocks.settings import settings

    configured = os.environ.get("MILLRACE_WAREHOUSE_URL") or prefect_api()
    return not configured and not (settings().state / "postgres" / "data").exists()
