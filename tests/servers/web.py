"""A loopback HTTP server whose whole behaviour is one function from request to response."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request: path, query, headers by lower-case name, and its number from 1."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    number: int


@dataclass(frozen=True)
class Given:
    """A response; `claim` is the Content-Length to claim where it differs from the truth."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    claim: int | None = None


@dataclass
class Web:
    """A running server: its URL and all that it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


def as_json(value: object, status: int = 200, **headers: str) -> Given:
    """A JSON response."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Given(json.dumps(value).encode(), status, {"Content-Type": "application/json", **named})


@contextmanager
def serving(answer: Callable[[Asked], Given]) -> Iterator[Web]:
    """The server, for as long as the block lasts."""
    web = Web("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(parts.path, dict(parse_qsl(parts.query)), headers, len(web.asked) + 1)
            web.asked.append(asked)
            given = answer(asked)
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body) if given.claim is None else given.claim))
            self.end_headers()
            self.wfile.write(given.body)
            if given.claim is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
