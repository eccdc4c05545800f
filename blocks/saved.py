"""Blocks saved in Prefect, looked up without importing Prefect where no Prefect API is configured."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.errors import Misconfigured, Transient

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.schemas.objects import BlockDocument

CLASSES = {
    "postgres-warehouse": ("blocks.postgres_warehouse", "PostgresWarehouse"),
    "rest-api": ("blocks.rest_api_block", "RestApiBlock"),
}
"""Block type slug → where its class is."""


def prefect_api() -> str | None:
    """The URL of the configured Prefect API, from the environment or the active profile; None when there is none."""
    if "prefect" in sys.modules:  # then its own answer is the true one: it may have been set in the process
        from prefect.settings import get_current_settings

        return get_current_settings().api.url
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    if not file.is_file():
        return None
    try:
        profiles = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"Prefect's profiles are no TOML: {error}", do="Mend the file.", value=str(file)) from None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    url = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(url) if url else None


def find_saved(slug: str, name: str, *, required: bool) -> Block | None:
    """The saved block of a type and name, or None when it is absent and not required.

    Raises
    ------
    Misconfigured: it is required and absent (the ones that exist are named), its content does not fit, or the API refuses us.
    Transient: the API does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    url = prefect_api()
    try:
        with get_client(sync_client=True) as client:
            try:
                document = client.read_block_document_by_name(name, slug)
            except ObjectNotFound:
                if not required:
                    return None
                raise _absent(slug, name, [str(one.name) for one in client.read_block_documents() if _is(one, slug)]) from None
    except PrefectHTTPStatusError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise Misconfigured(
                f"The Prefect API refuses us ({code})", do="Correct PREFECT_API_AUTH_STRING or PREFECT_API_KEY.", value=url
            ) from None
        raise Transient(f"The Prefect API answered {code}", do="Check the Prefect server, then run again.", value=url) from None
    except (httpx.TransportError, RuntimeError) as error:
        raise Transient(
            f"The Prefect API does not answer ({type(error).__name__}), so the block {slug}/{name} cannot be looked up",
            do="Start the Prefect server, or unset PREFECT_API_URL to work without one.",
            value=url,
        ) from None
    module, cls = CLASSES[slug]
    block: Block = getattr(importlib.import_module(module), cls)._from_block_document(document)
    return block


def _is(document: BlockDocument, slug: str) -> bool:
    return bool(document.block_type and document.block_type.slug == slug)


def _absent(slug: str, name: str, existing: list[str]) -> Misconfigured:
    have = f"There are: {', '.join(sorted(existing))}" if existing else "There is none of this type"
    return Misconfigured(f"There is no block {slug}/{name}", do=f"{have}. Save it, or correct the name", setting=f"{slug}/{name}")
