"""Blocks saved in Prefect are found by name, and keep their secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from blocks.auth import ApiKey, Basic, Bearer, NoAuth
from blocks.embedded import stop
from blocks.errors import Misconfigured, Transient
from blocks.rest_api import find_rest_api
from blocks.saved import find_saved
from blocks.settings import settings
from blocks.warehouse import find_warehouse

SECRET = "s3cr3t-value"

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def erp(prefect_api: str) -> Iterator[None]:
    """A saved warehouse `erp`; saved after the API is there, since Prefect would start one of its own."""
    from blocks.postgres_warehouse import PostgresWarehouse

    PostgresWarehouse(host="db", user="u", password=SECRET, options={"sslrootcert": "/x"}).save("erp", overwrite=True)
    yield
    PostgresWarehouse.delete("erp")


def stored(slug: str, name: str) -> str:
    """All that the API shows of a block to who may not see secrets."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(name, slug, include_secrets=False)
    return json.dumps(document.model_dump(mode="json"))


@pytest.mark.usefixtures("erp")
def test_saved_warehouse_is_found_by_name():
    found = find_warehouse("erp")
    assert found.describe() == "erp (db:5432/warehouse)"
    assert found._parts()["sslrootcert"] == "/x"
    assert found._password() == SECRET
    assert SECRET not in stored("postgres-warehouse", "erp")


@pytest.mark.usefixtures("erp")
def test_unknown_warehouse_names_the_known_ones():
    with pytest.raises(Misconfigured, match="There are: erp"):
        find_warehouse("crm")


def test_default_warehouse_is_the_embedded_one_unless_saved():
    from blocks.postgres_warehouse import PostgresWarehouse

    assert find_warehouse().describe().startswith("warehouse (127.0.0.1:")
    stop(settings().state)
    PostgresWarehouse(host="db").save("warehouse")
    assert find_warehouse().describe() == "warehouse (db:5432/warehouse)"
    PostgresWarehouse.delete("warehouse")


@pytest.mark.parametrize(
    "auth",
    [NoAuth(), Bearer(token=SECRET), Basic(user="u", password=SECRET), ApiKey(key=SECRET, name="k", location="query")],
    ids=lambda auth: auth.kind,
)
def test_saved_api_comes_back_with_its_credential(auth):
    from blocks.rest_api_block import RestApiBlock

    RestApiBlock(base_url="https://api.test/v1", auth=auth, requests_per_second=3).save("shop", overwrite=True)
    found = find_rest_api("shop")
    assert (found.auth, found.base_url, found.requests_per_second) == (auth, "https://api.test/v1", 3)
    assert SECRET not in stored("rest-api", "shop")
    RestApiBlock.delete("shop")


def test_unknown_api_says_that_there_is_none():
    with pytest.raises(Misconfigured, match=r"There is none of this type\. Save it"):
        find_rest_api("nowhere")


def test_api_that_does_not_answer_is_transient():
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(Transient, match="does not answer"):
        find_saved("rest-api", "shop", required=True)
