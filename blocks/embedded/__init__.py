"""A real PostgreSQL under the project's own state folder: the warehouse when no other is configured."""

from blocks.embedded.server import Server, create_database, drop_database, ensure, running, stop

__all__ = ["Server", "create_database", "drop_database", "ensure", "running", "stop"]
