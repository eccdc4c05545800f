"""A credential goes to the origin of its API, and nowhere else."""

from __future__ import annotations

import logging
import time

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from blocks.auth import ApiKey, Basic, Bearer
from blocks.errors import Misconfigured
from blocks.pace import Pace
from blocks.rest_api import RestApi, find_rest_api

SECRET = "s3cr3t-value"
WAYS = {
    "bearer": Bearer(token=SecretStr(SECRET)),
    "basic": Basic(user=SECRET, password=SecretStr(SECRET)),
    "header": ApiKey(key=SecretStr(SECRET)),
    "query": ApiKey(key=SecretStr(SECRET), name="key", location="query"),
}
SHOWN = {"bearer": f"Bearer {SECRET}", "basic": httpx.BasicAuth(SECRET, SECRET)._auth_header, "header": SECRET, "query": SECRET}


class Server:
    """Answers every request, redirecting what asks for it, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        to = request.url.params.get("to")
        return httpx.Response(302, headers={"Location": to}) if to else httpx.Response(404, json=[])

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


def api(way: str, **options) -> RestApi:
    return RestApi(name="shop", base_url="https://api.shop.test/v1", auth=WAYS[way], **options)


def carried(request: httpx.Request) -> str:
    """All that a request says."""
    return f"{request.url} {dict(request.headers)}"


@pytest.mark.parametrize("way", WAYS)
def test_credential_reaches_its_api(way):
    server = Server()
    with api(way).client(server.transport) as client:
        client.get("/issues", params={"page": 2})
    assert str(server.seen[0].url).startswith("https://api.shop.test/v1/issues?page=2")
    assert SHOWN[way] in carried(server.seen[0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.shop.test/x",
        "http://api.shop.test/x",
        "https://api.shop.test:8443/x",
        "https://api.shop.test@evil.test/x",
        "https://api.shop.test.evil.test/x",
    ],
)
def test_credential_goes_to_no_other_origin(way, url):
    server = Server()
    with api(way, headers={"X-Team": SECRET}).client(server.transport) as client:
        client.get(url)
        client.get("/redirect", params={"to": url})
    for request in (server.seen[0], server.seen[2]):
        assert SHOWN[way] not in carried(request)
        assert SECRET not in carried(request)


@pytest.mark.parametrize("way", WAYS)
def test_credential_stays_out_of_logs_errors_and_reprs(way, caplog):
    caplog.set_level(logging.DEBUG)
    with api(way).client(Server().transport) as client:
        response = client.get("/issues")
    with pytest.raises(httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    shown = f"{caught.value} {caplog.text} {carried(response.request)} {response.url}"
    assert SHOWN[way] not in shown
    if way != "basic":  # whose user is no secret
        assert SECRET not in shown + repr(api(way))


def test_redirect_within_the_api_keeps_the_credential():
    server = Server()
    with api("header").client(server.transport) as client:
        client.get("/redirect", params={"to": "/v1/moved"})
    assert server.seen[1].headers["X-API-Key"] == SECRET


def test_body_is_sent_with_the_credential():
    server = Server()
    with api("bearer").client(server.transport) as client:
        client.post("/issues", json={"title": "x"})
    assert server.seen[0].read() == b'{"title":"x"}'


def test_headers_of_the_api_yield_to_the_requests_own():
    server = Server()
    with api("bearer", headers={"Accept": "application/vnd.shop+json"}).client(server.transport) as client:
        client.get("/a")
        client.get("/b", headers={"Accept": "text/csv"})
    assert [request.headers["accept"] for request in server.seen] == ["application/vnd.shop+json", "text/csv"]


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://API.shop.test:443/other", True),
        ("/relative?x=1", True),
        ("?page=2", True),
        ("//evil.test/x", False),
        ("https://evil.test/", False),
        ("ftp://api.shop.test/v1", False),
    ],
)
def test_origin_decides_what_it_owns(url, own):
    assert api("bearer").owns(url) is own


def test_budget_is_shared_by_its_clients(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    shop = api("bearer", requests_per_second=4)
    for _ in range(3):
        with shop.client(Server().transport) as client:
            client.get("/x")
    assert waits == [0, 0.25, 0.5]


def test_pace_does_not_save_up(monkeypatch):
    waits: list[float] = []
    clock = iter([0.0, 100.0, 100.0])
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pace = Pace()
    for _ in range(3):
        pace.wait(1)
    assert waits == [0, 0, 1]


@pytest.mark.parametrize(
    ("given", "auth"),
    [
        ({}, "none"),
        ({"TOKEN": SECRET}, "bearer"),
        ({"USER": "u", "PASSWORD": SECRET}, "basic"),
        ({"KEY": SECRET, "KEY_NAME": "k", "KEY_LOCATION": "query"}, "api_key"),
    ],
)
def test_environment_describes_an_api(monkeypatch, given, auth):
    for key, value in {"URL": "http://127.0.0.1:1", "RATE": "5", "TIMEOUT": "2", "VERIFY": "0", **given}.items():
        monkeypatch.setenv(f"MILLRACE_API_MY_SHOP_{key}", value)
    found = find_rest_api("my-shop")
    assert (found.auth.kind, found.requests_per_second, found.timeout_seconds, found.verify) == (auth, 5, 2, False)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"URL": f"https://u:{SECRET}@x.test"}, "MILLRACE_API_SHOP_URL"),
        ({"URL": "x.test/v1"}, "MILLRACE_API_SHOP_URL"),
        ({"URL": "https://x.test", "RATE": "often"}, "MILLRACE_API_SHOP_RATE"),
        ({"URL": "https://x.test", "TOKEN": SECRET, "KEY": SECRET}, "MILLRACE_API_SHOP_KEY"),
        ({"URL": "https://x.test", "PASSWORD": SECRET}, "MILLRACE_API_SHOP_PASSWORD"),
        ({"URL": "https://x.test", "KEY": SECRET, "KEY_LOCATION": "body"}, "KEY_LOCATION"),
        ({}, "MILLRACE_API_SHOP_URL"),
    ],
)
def test_wrong_environment_names_its_variable(monkeypatch, given, named):
    for key, value in given.items():
        monkeypatch.setenv(f"MILLRACE_API_SHOP_{key}", value)
    with pytest.raises(Misconfigured, match=named) as caught:
        find_rest_api("shop")
    assert SECRET not in str(caught.value)


def test_wrong_base_url_does_not_show_its_password():
    with pytest.raises(ValidationError) as caught:
        RestApi(name="shop", base_url=f"https://u:{SECRET}@x.test")
    assert SECRET not in str(caught.value)
