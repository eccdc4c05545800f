"""Which Prefect server a command works with: the environment's, else the local stack of the state folder, else the user's profile's."""

from __future__ import annotations

import os
import sys


def use_server() -> str | None:
    """Point this process at the Prefect server it belongs to; its API URL, or None to work without one.

    Call it before anything imports Prefect, which reads the environment once.
    """
    from blocks.saved import prefect_api

    if url := os.environ.get("PREFECT_API_URL"):
        return url
    if "prefect" not in sys.modules:
        from blocks.settings import settings
        from deployments.local.found import local_env

        if (environ := local_env(settings().state)) is not None:
            for name in [name for name in os.environ if name.startswith("PREFECT_")]:
                del os.environ[name]
            os.environ.update(environ)
    return prefect_api()


def require_answer(url: str) -> None:
    """Raise Transient when the Prefect server does not answer, before half a run is recorded there."""
    from blocks.errors import Transient
    from deployments.local.found import healthy

    if not healthy(url, timeout=10):
        raise Transient(
            "The Prefect server does not answer",
            do="Start it, or unset PREFECT_API_URL to run without a server",
            setting="PREFECT_API_URL",
            value=url,
        )
