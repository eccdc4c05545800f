"""A private Prefect server and worker under the state folder, for the demo, for `make up` and for tests."""

from deployments.local.found import LocalServer, local_env, local_server
from deployments.local.stack import Stack, local_stack, stop_local

__all__ = ["LocalServer", "Stack", "local_env", "local_server", "local_stack", "stop_local"]
