"""Alembic's entry: runs the ledger's migrations on the connection that `tasks.ledger.schema` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="migration", version_table_schema="ledger", transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
