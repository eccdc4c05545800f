"""Ways of saying who we are to a REST API; each puts its credential into one request's headers or query."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr


class NoAuth(BaseModel):
    """The API asks for no credential."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="None")

    kind: Literal["none"] = "none"

    def signed(self, request: httpx.Request) -> httpx.Request:
        """A copy of the request as it is."""
        return with_header(request)


class Bearer(BaseModel):
    """A token in the Authorization header."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="Bearer token")

    kind: Literal["bearer"] = "bearer"
    token: SecretStr = Field(description="The token, without the word Bearer.")

    def signed(self, request: httpx.Request) -> httpx.Request:
        """The request with the token."""
        return with_header(request, "Authorization", f"Bearer {self.token.get_secret_value()}")


class Basic(BaseModel):
    """A user and a password in the Authorization header."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="User and password")

    kind: Literal["basic"] = "basic"
    user: str = Field(description="The user.")
    password: SecretStr = Field(default=SecretStr(""), description="The password; some APIs take a token as user and none.")

    def signed(self, request: httpx.Request) -> httpx.Request:
        """The request with user and password."""
        flow = httpx.BasicAuth(self.user, self.password.get_secret_value()).auth_flow(with_header(request))
        return next(flow)


class ApiKey(BaseModel):
    """A key in a header or in the query."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="API key")

    kind: Literal["api_key"] = "api_key"
    key: SecretStr = Field(description="The key.")
    name: str = Field(default="X-API-Key", description="Name of the header or of the query parameter.")
    location: Literal["header", "query"] = Field(default="header", description="Where the key goes.")

    def signed(self, request: httpx.Request) -> httpx.Request:
        """The request with the key."""
        key = self.key.get_secret_value()
        if self.location == "header":
            return with_header(request, self.name, key)
        signed = with_header(request)
        signed.url = signed.url.copy_merge_params({self.name: key})
        return signed


def _any_of(schema: dict[str, Any]) -> None:
    """Say `anyOf`, which Prefect's block form can show, where Pydantic says `oneOf`."""
    schema.pop("discriminator", None)
    schema["anyOf"] = schema.pop("oneOf", schema.get("anyOf"))


Auth = Annotated[NoAuth | Bearer | Basic | ApiKey, Field(discriminator="kind", json_schema_extra=_any_of)]
"""Any of them, told apart by `kind`."""


def with_header(request: httpx.Request, name: str | None = None, value: str = "") -> httpx.Request:
    """A copy of the request, with one more header; the request itself, which logs and errors may show, stays without it."""
    copy = httpx.Request(request.method, request.url, headers=request.headers, stream=request.stream, extensions=request.extensions)
    if name is not None:
        copy.headers[name] = value
    return copy
