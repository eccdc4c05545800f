"""Calling a REST API politely: retries with backoff, Retry-After, a largest answer, and errors that say what to do."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from tasks.errors import BadData, Misconfigured, Transient
from tasks.extract.paging import Json

if TYPE_CHECKING:
    import httpx
    import tenacity

    from blocks.rest_api import RestApi

PASSING = {408, 425, 429}
SHOWN = 200
"""Characters of an answer that a message repeats."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long a request is tried again before the run is told.

    Parameters
    ----------
    attempts: requests in all. wait: seconds before the second; doubled each time, with jitter.
    longest: seconds that one wait may take; an API that asks for more gets it from the run's own retry.
    """

    attempts: int = 5
    wait: float = 1.0
    longest: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API answered: parsed JSON, its URL, the `Link` headers by relation, and the body."""

    json: Json
    url: str
    links: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Caller:
    """Sends requests with one client and counts them.

    Parameters
    ----------
    api: the API, for its credential's sake (what must not be shown). client: its client.
    max_bytes: the largest answer that is read, after decompression. slowest: seconds that one answer may take.
    """

    api: RestApi
    client: httpx.Client
    retry: Retry = Retry()
    max_bytes: int = 64 << 20
    slowest: float = 600.0
    calls: int = field(default=0, init=False)

    def call(self, method: str, url: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """The answer to one request.

        Raises
        ------
        Transient: it still failed at the last attempt, or asked to wait for longer than we wait here.
        Misconfigured: the request, the address or the credential is wrong. BadData: the answer is no JSON, or too large.
        """
        import tenacity

        attempts = tenacity.Retrying(
            stop=self._gives_up,
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(Transient),
            reraise=True,
        )
        return attempts(self._once, method, url, params, headers)

    def _once(self, method: str, url: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        import httpx

        self.calls += 1
        try:
            # Parameters that are given, even none, replace the query of the URL.
            with self.client.stream(method, url, params=params or None, headers=dict(headers)) as response:
                return self._read(response)
        except httpx.TimeoutException as error:
            raise Transient(f"{self._shown(url)} did not answer in time ({type(error).__name__})", do=_AGAIN) from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise Misconfigured(f"{self._shown(url)} cannot be called: {self.masked(str(error))}", do=self._check("base_url")) from None
        except httpx.RequestError as error:
            if "CERTIFICATE" in str(error).upper():
                raise Misconfigured(f"The TLS certificate of {self._shown(url)} is refused: {error}", do=self._check("verify")) from None
            raise Transient(f"{self._shown(url)} could not be read: {self.masked(str(error)) or type(error).__name__}", do=_AGAIN) from None

    def _read(self, response: httpx.Response) -> Answer:
        body = bytearray()
        late = time.monotonic() + self.slowest
        for piece in response.iter_bytes():
            body += piece
            if len(body) > self.max_bytes:
                raise BadData(
                    f"The answer of {self._shown(str(response.url))} is larger than {self.max_bytes:,} bytes",
                    do="Ask for smaller pages, or raise max_bytes of the source.",
                    setting="max_bytes",
                )
            if time.monotonic() > late:
                raise Transient(f"{self._shown(str(response.url))} took more than {self.slowest:.0f} s to send its answer", do=_AGAIN)
        if response.status_code >= 300:
            self._refuse(response, bytes(body))
        links = {str(rel): str(link["url"]) for rel, link in response.links.items() if "url" in link}
        parsed = None if response.status_code == 204 else self._parsed(response, bytes(body))
        return Answer(parsed, str(response.url), links, bytes(body))

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raise what a status that is no success means."""
        status, where = response.status_code, self._shown(str(response.url))
        said = f"{where} answered {status} {response.reason_phrase}".rstrip()
        pause = retry_after(response.headers.get("Retry-After"))
        if status >= 500 or status in PASSING or (status == 403 and pause):
            raise Transient(f"{said}: {self.excerpt(body)}", do=_AGAIN, retry_after=pause, value=status)
        if status in (401, 403):
            what = f"{said}: the credential of `{self.api.name}` is missing, wrong or not allowed to read this: {self.excerpt(body)}"
            raise Misconfigured(what, do=self._check("credential"), setting=f"rest-api/{self.api.name}", value=status)
        do = "Check path and params of the source; a page token may have expired too: then run once with full_refresh."
        raise Misconfigured(f"{said}: {self.excerpt(body)}", do=do, setting="path", value=status)

    def _parsed(self, response: httpx.Response, body: bytes) -> Json:
        where = self._shown(str(response.url))
        if "html" in response.headers.get("Content-Type", "") or body.lstrip()[:1] == b"<":
            what = f"{where} answered HTML instead of JSON (a login page, a proxy, a wrong path?): {self.excerpt(body)}"
            raise BadData(what, do=f"Open the address in a browser, then correct the path or the base_url of `{self.api.name}`.")
        try:
            return json.loads(body)
        except ValueError as error:
            what = f"{where} answered {len(body):,} bytes that are no JSON ({error}): {self.excerpt(body)}"
            raise BadData(what, do="Run again; when it stays so, the API is at fault: show its owner this message.") from None

    def _gives_up(self, state: tenacity.RetryCallState) -> bool:
        asked = self._asked(state)
        return state.attempt_number >= self.retry.attempts or (asked is not None and asked > self.retry.longest)

    def _pause(self, state: tenacity.RetryCallState) -> float:
        import tenacity

        asked = self._asked(state)
        own = tenacity.wait_random_exponential(multiplier=self.retry.wait, max=self.retry.longest)(state)
        return own if asked is None else asked + min(own, 1.0)

    @staticmethod
    def _asked(state: tenacity.RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after if isinstance(error, Transient) else None

    def _check(self, what: str) -> str:
        return f"Check the {what} in the rest-api block `{self.api.name}` (or MILLRACE_API_{self.api.name.upper().replace('-', '_')}_…)."

    def _shown(self, url: str) -> str:
        """A URL for people: without its query, which may hold tokens."""
        import httpx

        full = self.client.base_url.join(url) if not url.startswith("/") else httpx.URL(str(self.client.base_url).rstrip("/") + url)
        return self.masked(str(full.copy_with(query=None, fragment=None)))

    def excerpt(self, body: bytes) -> str:
        """The start of an answer, without our secrets."""
        return repr(self.masked(" ".join(body[: 4 * SHOWN].decode("utf-8", "replace").split()))[:SHOWN])

    def masked(self, text: str) -> str:
        """The text with every secret of the API replaced."""
        for secret in secrets(self.api):
            text = text.replace(secret, "***")
        return text


_AGAIN = "Run again later; the run goes on from the last page that landed."


def secrets(api: RestApi) -> Iterator[str]:
    """Every form of the credential that could be repeated by an answer."""
    found = [value.get_secret_value() for _, value in api.auth if isinstance(value, SecretStr)]
    user = getattr(api.auth, "user", None)
    if user is not None:
        found += [base64.b64encode(f"{user}:{secret}".encode()).decode() for secret in found]
    yield from (secret for secret in found if secret)


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, written as seconds or as an HTTP date; nothing, zero, past or nonsense is None."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return seconds if 0 < seconds < float("inf") else None
