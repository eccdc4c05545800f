"""The Prefect block that keeps a REST API's address and credential."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, field_validator

from blocks.auth import Auth, NoAuth
from blocks.rest_api import RestApi, checked


class RestApiBlock(Block):
    """A REST API that pipelines read from or write to, with its credential encrypted.

    Save it under the name that pipelines give: `Rest(api="github")` looks for the block `rest-api/github`.

    Example:
        ```python
        from blocks.auth import Bearer
        from blocks.rest_api_block import RestApiBlock

        RestApiBlock(base_url="https://api.github.com", auth=Bearer(token="…")).save("github")
        ```
    """

    _block_type_name = "REST API"
    _block_type_slug = "rest-api"
    _description = "Address, credential and request budget of a REST API that Millrace pipelines use."

    base_url: str = Field(description="Where paths start.", examples=["https://api.example.com/v1"])
    auth: Auth = Field(default=NoAuth(), title="Authentication", description="How to say who we are; sent to this API alone.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers for every request; not for secrets.")
    timeout_seconds: float = Field(default=30, gt=0, description="For connecting, and for each wait for bytes.")
    requests_per_second: float | None = Field(default=None, gt=0, description="Our own budget; leave empty for no limit.")
    verify: bool = Field(default=True, title="Verify TLS", description="Check the server's certificate.")

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        return checked(url)

    def api(self, name: str) -> RestApi:
        """The API that this block describes, under the name that it was asked for."""
        return RestApi(name=name, **{field: getattr(self, field) for field in RestApi.model_fields if field != "name"})
