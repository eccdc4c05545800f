"""Blocks from the environment: credentials and addresses that a deploy saves on the server, encrypted, under the names that flows use.

| variable | block |
|---|---|
| `MILLRACE_WAREHOUSE_URL` | `postgres-warehouse/warehouse` |
| `MILLRACE_WAREHOUSE_<NAME>_URL` | `postgres-warehouse/<name>` |
| `MILLRACE_API_<NAME>_URL`, `…_TOKEN` and the others of `blocks.rest_api` | `rest-api/<name>` |
| `MILLRACE_SLACK_URL` | `custom-webhook/millrace-slack` |
| `MILLRACE_ALERT_EMAIL` (addresses, comma between), `MILLRACE_SMTP_URL`, `MILLRACE_ALERT_FROM` | `slack-webhook/millrace-email` |

In names `_` becomes `-`, as block names allow no underscore.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deployments.deploy.channels import email_block, slack_block
from deployments.deploy.report import Action, Change

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.orchestration import SyncPrefectClient

_WAREHOUSE = re.compile(r"MILLRACE_WAREHOUSE_(?:(?P<name>\w+)_)?URL")
_API = re.compile(r"MILLRACE_API_(?P<name>\w+)_URL")


def wanted_blocks() -> dict[str, Block]:
    """The blocks that the environment describes, by `slug/name`; raises Misconfigured for a value that makes no block."""
    environ = {name: value for name, value in os.environ.items() if value}
    blocks = [*_warehouses(environ), *_apis(environ), *slack_block(environ), *email_block(environ)]
    return {f"{block.get_block_type_slug()}/{name}": block for name, block in blocks}


def compare_blocks(client: SyncPrefectClient, blocks: Mapping[str, Block]) -> tuple[Change, ...]:
    """One change per block: whether the server has it, with the same content."""
    return tuple(Change("block", name, _state(client, name, block)) for name, block in sorted(blocks.items()))


def save(blocks: Mapping[str, Block], name: str) -> None:
    """Create or overwrite one block on the server, its type registered with it."""
    blocks[name].save(name.partition("/")[2], overwrite=True)


def _state(client: SyncPrefectClient, name: str, block: Block) -> Action:
    from prefect.exceptions import ObjectNotFound

    slug, _, saved = name.partition("/")
    try:
        document = client.read_block_document_by_name(saved, slug, include_secrets=True)
    except ObjectNotFound:
        return "created"
    mine = block.model_dump(mode="json", context={"include_secrets": True}, exclude={"block_type_slug"})
    same = all(document.data.get(field) == value for field, value in mine.items() if value is not None)
    return "unchanged" if same else "updated"


def _warehouses(environ: Mapping[str, str]) -> Iterator[tuple[str, Block]]:
    from psycopg.conninfo import conninfo_to_dict

    from blocks.postgres_warehouse import PostgresWarehouse
    from blocks.warehouse import Warehouse

    for variable in sorted(environ):
        if match := _WAREHOUSE.fullmatch(variable):
            name = (match["name"] or "warehouse").lower().replace("_", "-")
            parts: dict[str, Any] = dict(conninfo_to_dict(Warehouse.at(name, environ[variable]).dsn.get_secret_value()))
            known = {
                "database" if key == "dbname" else key: parts.pop(key)
                for key in ("host", "port", "dbname", "user", "password", "sslmode")
                if key in parts
            }
            yield name, PostgresWarehouse(**known, options=parts)


def _apis(environ: Mapping[str, str]) -> Iterator[tuple[str, Block]]:
    for variable in sorted(environ):
        if match := _API.fullmatch(variable):
            from blocks.rest_api import find_rest_api
            from blocks.rest_api_block import RestApiBlock

            name = match["name"].lower().replace("_", "-")
            api = find_rest_api(name)
            yield name, RestApiBlock(**{field: getattr(api, field) for field in type(api).model_fields if field != "name"})
