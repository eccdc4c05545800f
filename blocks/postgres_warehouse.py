"""The Prefect block that keeps a warehouse's address and password."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.warehouse import Warehouse


class PostgresWarehouse(Block):
    """A PostgreSQL database that pipelines load into or read from, with its password encrypted.

    Save it under the name `warehouse` to make it the default destination; under another name to use it by that name.

    Example:
        ```python
        from blocks.postgres_warehouse import PostgresWarehouse

        PostgresWarehouse(host="db.example.com", database="analytics", user="millrace", password="…").save("warehouse")
        ```
    """

    _block_type_name = "PostgreSQL Warehouse"
    _block_type_slug = "postgres-warehouse"
    _description = "A PostgreSQL database that Millrace pipelines load into or read from."

    host: str = Field(default="localhost", description="Host name or address.", examples=["db.example.com"])
    port: int = Field(default=5432, gt=0, lt=65536, description="TCP port.")
    database: str = Field(default="warehouse", description="Name of the database.")
    user: str = Field(default="millrace", description="User to log in as.")
    password: SecretStr | None = Field(default=None, description="Password of the user; kept encrypted.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="How TLS is used; `verify-full` for a server across a network that is not yours."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Further libpq connection parameters.", examples=[{"sslrootcert": "/etc/ssl/db.pem"}]
    )

    def warehouse(self, name: str = "warehouse") -> Warehouse:
        """The warehouse that this block describes, under the name that it was asked for."""
        password = self.password.get_secret_value() if self.password else None
        parts = {"host": self.host, "port": self.port, "dbname": self.database, "user": self.user, "password": password}
        return Warehouse.of(name, **(self.options | parts | {"sslmode": self.sslmode}))
