"""`millrace stop`: end what this project's state folder keeps running."""

from __future__ import annotations

from deployments.cli.run import AS_JSON


def stop(as_json: AS_JSON = False) -> None:
    """Stop a local stack that was left over, and the embedded PostgreSQL; what was committed stays.

    \b
    Examples:
      millrace stop
    """
    from blocks.embedded import running
    from blocks.embedded import stop as stop_postgres
    from blocks.settings import settings
    from deployments.cli.printing import print_json, stdout
    from deployments.local import stop_local

    state = settings().state
    stack = stop_local(state)
    postgres = running(state) is not None
    stop_postgres(state)
    if as_json:
        print_json({"state": str(state), "stopped": {"stack": stack, "postgres": postgres}})
    else:
        ended = " and ".join(
            [*(["the local Prefect server and worker"] if stack else []), *(["the embedded PostgreSQL"] if postgres else [])]
        )
        stdout().print(f"Stopped {ended}." if ended else "Nothing was running.")
