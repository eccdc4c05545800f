"""Finding a warehouse and connecting to it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from blocks.connecting import explained
from blocks.embedded import stop
from blocks.errors import Misconfigured, Transient
from blocks.settings import settings
from blocks.warehouse import Warehouse, find_warehouse

SECRET = "p@ss/w:rd%?#"
FIND = """
import sys
from blocks.errors import Transient
from blocks.warehouse import find_warehouse
try:
    find_warehouse()
except Transient as error:
    print(error)
print("heavy" if {"prefect", "polars", "adbc_driver_postgresql"} & set(sys.modules) else "light")
"""


def changed(warehouse: Warehouse, **parts: object) -> Warehouse:
    """The warehouse with some connection parameters changed."""
    return Warehouse.of(warehouse.name, **(psycopg.conninfo.conninfo_to_dict(warehouse.dsn.get_secret_value()) | parts))


def test_connects_in_utc_by_both_drivers(warehouse):
    with warehouse.connect(autocommit=True) as connection:
        assert connection.execute("select current_setting('TimeZone')").fetchone() == ("UTC",)
    with warehouse.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('TimeZone') as zone")
        assert cursor.fetch_arrow_table().to_pydict() == {"zone": ["UTC"]}


def test_connects_from_threads(warehouse):
    def backend(_: int) -> int:
        with warehouse.connect() as connection:
            return connection.execute("select pg_backend_pid()").fetchone()[0]

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(backend, range(8)))) == 8


def test_names_itself_to_the_server(warehouse):
    with warehouse.connect(application_name="millrace nightly") as connection:
        assert connection.info.parameter_status("application_name") == "millrace nightly"


def test_users_own_options_win(warehouse):
    wanted = changed(warehouse, options="-c TimeZone=Asia/Tokyo -c work_mem=7MB", connect_timeout=3)
    with wanted.connect() as connection:
        assert connection.execute("show TimeZone").fetchone() == ("Asia/Tokyo",)
        assert connection.execute("show work_mem").fetchone() == ("7MB",)
    assert "connect_timeout=3" in wanted._uri("x")


@pytest.mark.parametrize("driver", ["connect", "adbc"])
@pytest.mark.parametrize(
    ("parts", "error", "hint"),
    [
        ({"port": 1}, Transient, "run again"),
        ({"password": SECRET}, Misconfigured, "password"),
        ({"dbname": "nowhere"}, Misconfigured, "Create the database"),
        ({"user": "nobody"}, Misconfigured, "Correct"),
        ({"sslmode": "require"}, Misconfigured, "sslmode"),
    ],
    ids=["refused", "password", "database", "user", "tls"],
)
def test_failed_connection_says_what_to_do(warehouse, driver, parts, error, hint):
    wrong = changed(warehouse, **parts)
    with pytest.raises(error, match=hint) as caught:
        getattr(wrong, driver)()
    assert type(caught.value) is error
    assert wrong._password() not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("FATAL:  the database system is starting up", Transient),
        ("FATAL:  sorry, too many clients already", Transient),
        ("FATAL:  remaining connection slots are reserved for roles", Transient),
        ('could not translate host name "x" to address: Temporary failure in name resolution', Transient),
        ('could not translate host name "x" to address: Name or service not known', Misconfigured),
        ('connection to server at "role database", port 5 failed: Connection timed out', Transient),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', Misconfigured),
    ],
)
def test_message_decides_whether_a_retry_helps(said, error):
    assert type(explained(psycopg.OperationalError(said), "w", "")) is error


def test_password_is_shown_nowhere():
    warehouse = Warehouse.of("erp", host="db", user="u", dbname="d", password=SECRET)
    assert SECRET not in f"{warehouse!r} {warehouse} {warehouse.describe()}"
    assert warehouse.describe() == "erp (db:5432/d)"


def test_password_survives_the_way_through_a_uri():
    warehouse = Warehouse.of("erp", host="db", user="u@x", dbname="d d", password=SECRET)
    again = Warehouse.at("erp", warehouse.dsn.get_secret_value())
    assert again == warehouse
    assert again.dbt_env() == {
        "MILLRACE_DBT_HOST": "db",
        "MILLRACE_DBT_PORT": "5432",
        "MILLRACE_DBT_USER": "u@x",
        "MILLRACE_DBT_PASSWORD": SECRET,
        "MILLRACE_DBT_DBNAME": "d d",
        "MILLRACE_DBT_SSLMODE": "prefer",
    }


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://u:pw@db:6/d", "postgres://u:pw@db:6/d", "host=db port=6 user=u password=pw dbname=d"]
)
def test_environment_names_the_warehouse(monkeypatch, url):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", url)
    assert find_warehouse().describe() == find_warehouse("warehouse").describe() == "warehouse (db:6/d)"


def test_bad_address_is_not_repeated(monkeypatch):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", f"postgresql://u:{SECRET}@db/d")
    with pytest.raises(Misconfigured) as caught:
        find_warehouse()
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_default_address_is_not_taken_for_another_name(monkeypatch):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", "postgresql://db/d")
    monkeypatch.setenv("MILLRACE_WAREHOUSE_ERP_URL", "postgresql://erp/e")
    assert find_warehouse("erp").describe() == "erp (erp:5432/e)"
    with pytest.raises(Misconfigured, match="MILLRACE_WAREHOUSE_CRM_URL"):
        find_warehouse("crm")


def test_embedded_postgres_is_the_default(monkeypatch):
    monkeypatch.setenv("MILLRACE_EMBEDDED_DURABLE", "false")
    try:
        with find_warehouse().connect() as connection:
            assert connection.info.dbname == "warehouse"
    finally:
        stop(settings().state)


@pytest.mark.parametrize("where", ["environment", "profile"])
def test_unreachable_prefect_never_means_embedded(monkeypatch, tmp_path, where):
    if where == "environment":
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    else:
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
        (tmp_path / "profiles.toml").write_text('active = "x"\n[profiles.x]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n')
    done = subprocess.run([sys.executable, "-c", FIND], capture_output=True, text=True, check=True)
    assert "Prefect API does not answer" in done.stdout
    assert not settings().state.exists()


def test_finding_it_needs_no_prefect(monkeypatch):
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", "postgresql://db/d")
    done = subprocess.run([sys.executable, "-c", FIND], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "light"
