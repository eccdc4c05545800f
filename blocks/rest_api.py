"""A REST API: its address, its credential and its budget; and how it is found. Imports no Prefect unless a Prefect API is configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator

from blocks.auth import ApiKey, Auth, Basic, Bearer, NoAuth
from blocks.errors import Misconfigured
from blocks.pace import Pace

if TYPE_CHECKING:
    from blocks.rest_api_block import RestApiBlock

USER_AGENT = "millrace"


class RestApi(BaseModel):
    """A REST API that sources read and destinations write; free to share between threads.

    The credential and the extra headers are sent to the origin of `base_url` alone, and never stand in a URL or a
    header that logs, errors or redirects can see.

    Parameters
    ----------
    name: what users call it. base_url: where paths start, e.g. https://api.example.com/v1.
    auth: how to say who we are. headers: sent with every request, not for secrets.
    timeout_seconds: for connecting, and for each wait for bytes.
    requests_per_second: our own budget over all clients of this object; None is no limit.
    verify: whether the server's TLS certificate is checked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    base_url: str
    auth: Auth = NoAuth()
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=30, gt=0)
    requests_per_second: float | None = Field(default=None, gt=0)
    verify: bool = True
    _pace: Pace = PrivateAttr(default_factory=Pace)

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        return checked(url)

    def owns(self, url: str | httpx.URL) -> bool:
        """Whether a URL has the origin (scheme, host, port) of `base_url`; relative ones do."""
        base = httpx.URL(self.base_url)
        return _origin(base) == _origin(base.join(url))

    def client(self, transport: httpx.BaseTransport | None = None) -> httpx.Client:
        """A client for relative paths and full URLs; the caller closes it. Redirects are followed, without the credential elsewhere.

        Parameters
        ----------
        transport: what really sends, for tests; default is the network, by the proxy that the environment names.
        """
        return httpx.Client(
            base_url=self.base_url,
            transport=_Signed(self, transport or httpx.HTTPTransport(verify=self.verify, proxy=self._proxy())),
            timeout=self.timeout_seconds,
            headers={"User-Agent": USER_AGENT},
            follow_redirects=True,
        )

    def _proxy(self) -> str | None:
        """The proxy for this API's host as the environment has it."""
        url = httpx.URL(self.base_url)
        proxies = getproxies()
        return None if proxy_bypass(url.host) else proxies.get(url.scheme) or proxies.get("all")


class _Signed(httpx.BaseTransport):
    """Sends at the API's pace, and adds the credential where the API owns the URL, last, so that nothing above sees it."""

    def __init__(self, api: RestApi, inner: httpx.BaseTransport) -> None:
        self._api, self._inner = api, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, each hop of a redirect being one."""
        if self._api.owns(request.url):
            if self._api.requests_per_second:
                self._api._pace.wait(self._api.requests_per_second)
            signed = self._api.auth.signed(request)
            for name, value in self._api.headers.items():
                if signed.headers.get(name) in (None, "*/*", USER_AGENT):  # what the caller gave to one request wins
                    signed.headers[name] = value
            return self._inner.handle_request(signed)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def checked(url: str) -> str:
    """The URL, when it can be a base URL; ValueError otherwise, for Pydantic."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ValueError("must start with http:// or https:// and a host, and hold no user or password")
    return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower().rstrip("."), url.port or {"http": 80, "https": 443}.get(url.scheme)


def find_rest_api(name: str) -> RestApi:
    """The REST API of that name.

    Looked up first in the environment (`MILLRACE_API_<NAME>_URL`, with `_TOKEN`, or `_USER` and `_PASSWORD`, or `_KEY`,
    `_KEY_NAME` and `_KEY_LOCATION`; `_RATE`, `_TIMEOUT`, `_VERIFY`), then as the saved Prefect block `rest-api/<name>`.

    Raises
    ------
    Misconfigured: nothing of that name is configured, or not rightly. Transient: the configured Prefect API does not answer.
    """
    prefix = f"MILLRACE_API_{name.upper().replace('-', '_')}_"
    if os.environ.get(prefix + "URL"):
        return _from_environment(name, prefix)
    from blocks.saved import find_saved, prefect_api

    if not prefect_api():
        raise Misconfigured(
            f"There is no REST API `{name}`",
            do=f"Set {prefix}URL (and {prefix}TOKEN …), or save a rest-api block of that name and set PREFECT_API_URL.",
            setting=prefix + "URL",
        )
    return cast("RestApiBlock", find_saved("rest-api", name, required=True)).api(name)


def _from_environment(name: str, prefix: str) -> RestApi:
    """The API as the variables with that prefix describe it."""
    seen = {key.removeprefix(prefix).lower(): value for key, value in os.environ.items() if key.startswith(prefix) and value}
    fields = {"url": "base_url", "rate": "requests_per_second", "timeout": "timeout_seconds", "verify": "verify"}
    given: dict[str, Any] = {field: seen[key] for key, field in fields.items() if key in seen}
    try:
        return RestApi(name=name, auth=_auth(seen, prefix), **given)
    except ValidationError as error:
        first = error.errors()[0]
        variable = prefix + {field: key for key, field in fields.items()}.get(str(first["loc"][0]), "KEY_LOCATION").upper()
        raise Misconfigured(f"{variable} is not usable: {first['msg']}", do="Correct it.", setting=variable) from None


def _auth(seen: dict[str, str], prefix: str) -> NoAuth | Bearer | Basic | ApiKey:
    """The one way of authentication that the variables describe."""
    ways = [way for way in ("token", "user", "key") if way in seen]
    if len(ways) > 1 or ("password" in seen and "user" not in seen):
        found = ", ".join(prefix + way.upper() for way in (*ways, "password") if way in seen)
        raise Misconfigured(
            f"The credential is not clear from {found}", do=f"Set {prefix}TOKEN, or _USER with _PASSWORD, or _KEY.", setting=prefix
        )
    if "token" in seen:
        return Bearer(token=SecretStr(seen["token"]))
    if "user" in seen:
        return Basic(user=seen["user"], password=SecretStr(seen.get("password", "")))
    if "key" in seen:
        place: Any = seen.get("key_location", "header")
        return ApiKey(key=SecretStr(seen["key"]), name=seen.get("key_name", "X-API-Key"), location=place)
    return NoAuth()
