"""Bringing the ledger's tables to this version: Alembic runs only where the version differs."""

from __future__ import annotations

from importlib.resources import files

import psycopg

from blocks.warehouse import Warehouse
from tasks.errors import Misconfigured

VERSION = "0001"
"""The newest migration; a test holds this equal to the files in `migrations/versions`."""


def ensure_ledger(warehouse: Warehouse) -> None:
    """Create or migrate the ledger in this warehouse; costs one query where nothing is to be done.

    Raises Misconfigured when the ledger was written by a newer version of Millrace.
    """
    found = version(warehouse)
    if found == VERSION:
        return
    if found is not None and found > VERSION:
        raise Misconfigured(
            f"The ledger in {warehouse.describe()} has version {found}, this Millrace knows up to {VERSION}",
            do="Upgrade Millrace on this machine",
            setting="ledger",
            value=found,
        )
    _migrate(warehouse)


def version(warehouse: Warehouse) -> str | None:
    """Version of the ledger found; None where there is none yet."""
    with warehouse.connect(autocommit=True) as conn:
        try:
            row = conn.execute("SELECT version_num FROM ledger.migration").fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None
    return row[0] if row else None


def _migrate(warehouse: Warehouse) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import StaticPool

    config = Config()
    config.set_main_option("script_location", str(files("tasks.ledger") / "migrations"))
    engine = create_engine("postgresql+psycopg://", creator=warehouse.connect, poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            # Two processes that start together must not both migrate.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('millrace ledger', 0))"))
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
            config.attributes["connection"] = connection
            command.upgrade(config, VERSION)
    finally:
        engine.dispose()
