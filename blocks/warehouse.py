"""The warehouse: where it is, how to connect, and how it is found. Imports no Prefect unless a Prefect API is configured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from blocks.connecting import explained
from blocks.errors import Misconfigured

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

    from blocks.postgres_warehouse import PostgresWarehouse

DEFAULT = "warehouse"
"""Name of the warehouse that pipelines load into when they name none."""

KEEPALIVE = {"connect_timeout": "10", "keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A PostgreSQL database to load into or to read from; plain data, free to share between threads.

    Parameters
    ----------
    name: what users call it. dsn: its libpq URI, with the password.
    """

    name: str
    dsn: SecretStr

    @classmethod
    def at(cls, name: str, dsn: str) -> Warehouse:
        """The warehouse at a libpq URI, a `key=value` string, or a URI with a driver in its scheme (`postgresql+psycopg://`).

        Raises
        ------
        Misconfigured: it is none of these; the text is not repeated, since it may hold a password.
        """
        scheme, separator, rest = dsn.partition("://")
        try:
            parts = conninfo_to_dict("postgresql://" + rest if separator and scheme.split("+")[0] in ("postgres", "postgresql") else dsn)
        except psycopg.Error:
            raise Misconfigured(
                f"The address of the warehouse `{name}` is no PostgreSQL URI",
                do="Write it as postgresql://user:password@host:5432/database, special characters of the password %-encoded.",
                setting=name,
            ) from None
        return cls.of(name, **parts)

    @classmethod
    def of(cls, name: str, **parts: object) -> Warehouse:
        """The warehouse with these libpq parameters (host, port, dbname, user, password, sslmode …); empty ones are left out."""
        given = {key: str(value) for key, value in parts.items() if value not in (None, "")}
        user, password = (quote(given.pop(part, ""), safe="") for part in ("user", "password"))
        login = f"{user}:{password}@" if password else f"{user}@" if user else ""
        database = quote(given.pop("dbname", ""), safe="")
        # host and port go into the query too: hosts can be several, or the folder of a socket
        return cls(name, SecretStr(f"postgresql://{login}/{database}?{urlencode(given, quote_via=quote)}"))

    def connect(self, *, autocommit: bool = False, application_name: str = "millrace") -> psycopg.Connection:
        """A new connection with time zone UTC and TCP keepalives; the caller closes it.

        Raises
        ------
        Transient: refused, timed out, starting up, no free connection. Misconfigured: login, database, host or TLS is wrong.
        """
        try:
            return psycopg.connect(self._uri(application_name), autocommit=autocommit)
        except psycopg.OperationalError as error:
            raise explained(error, self.describe(), self._password()) from None

    def adbc(self, application_name: str = "millrace") -> AdbcConnection:
        """A new ADBC connection, for moving Arrow tables; raises as `connect` does."""
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        try:
            return dbapi.connect(self._uri(application_name))
        except Error as error:
            raise explained(error, self.describe(), self._password()) from None

    def describe(self) -> str:
        """Name, host, port and database, for people; no secret."""
        parts = self._parts()
        return f"{self.name} ({parts.get('host', 'local socket')}:{parts.get('port', 5432)}/{parts.get('dbname', parts.get('user', ''))})"

    def dbt_env(self) -> dict[str, str]:
        """The variables that `dbt/profiles.yml` reads; it holds the password, so hand it to the dbt process and to nothing else."""
        parts = self._parts()
        names = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "DBNAME": "dbname", "SSLMODE": "sslmode"}
        defaults = {"host": "localhost", "port": "5432", "sslmode": "prefer"}
        return {f"MILLRACE_DBT_{name}": parts.get(key, defaults.get(key, "")) for name, key in names.items()}

    def _parts(self) -> dict[str, str]:
        return {key: str(value) for key, value in conninfo_to_dict(self.dsn.get_secret_value()).items() if value is not None}

    def _password(self) -> str:
        return self._parts().get("password", "")

    def _uri(self, application_name: str) -> str:
        """The URI with our session settings added; what the user set wins."""
        parts = self._parts()
        ours = KEEPALIVE | {"application_name": application_name, "client_encoding": "UTF8"}
        zone = f"-c TimeZone=UTC {parts.get('options', '')}".strip()
        return Warehouse.of(self.name, **(ours | parts | {"options": zone})).dsn.get_secret_value()


def find_warehouse(name: str | None = None) -> Warehouse:
    """The warehouse of that name; without a name the default one.

    Looked up in this order: the environment (`MILLRACE_WAREHOUSE_URL`, or for another name `MILLRACE_WAREHOUSE_<NAME>_URL`),
    the saved Prefect block `postgres-warehouse/<name>` when a Prefect API is configured, and, for the default
    alone, the embedded PostgreSQL, which is started when it is not running.

    Raises
    ------
    Misconfigured: nothing of that name is configured. Transient: the configured Prefect API does not answer.
    """
    wanted = name or DEFAULT
    variable = "MILLRACE_WAREHOUSE_URL" if wanted == DEFAULT else f"MILLRACE_WAREHOUSE_{wanted.upper().replace('-', '_')}_URL"
    if url := os.environ.get(variable):
        return Warehouse.at(wanted, url)
    from blocks.saved import find_saved, prefect_api

    if prefect_api():
        saved = find_saved("postgres-warehouse", wanted, required=name is not None and wanted != DEFAULT)
        if saved is not None:
            return cast("PostgresWarehouse", saved).warehouse(wanted)
    if wanted != DEFAULT:
        raise Misconfigured(
            f"There is no warehouse `{wanted}`",
            do=f"Set {variable}, or save a postgres-warehouse block of that name and set PREFECT_API_URL.",
            setting=variable,
        )
    return _embedded()


def _embedded() -> Warehouse:
    """The embedded PostgreSQL as a warehouse."""
    from blocks.embedded import ensure
    from blocks.settings import settings

    server = ensure(settings().state)
    return Warehouse.of(
        DEFAULT,
        host=server.host,
        port=server.port,
        dbname=server.database,
        user=server.user,
        password=server.password.get_secret_value(),
        sslmode="disable",
    )
