"""The third road: hourly weather from a small REST API on the loopback address, with the manners and faults of a real one.

It wants a bearer token, pages by an opaque cursor, lets pages overlap by one record (as they do where records arrive while one
reads), answers one request with 429 and one with 500, and knows `since`. Run it alone with `python -m deployments.demo.standin`.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from deployments.demo.data import typed
from deployments.demo.weather_pages import BadRequest, page_of

FAULTS = {4: (429, {"Retry-After": "1"}, "slow down"), 9: (500, {}, "something broke")}
"""Number of an authorised weather request since the start → the status, headers and message that it gets instead of data."""


class StandIn(ThreadingHTTPServer):
    """The server; listening as soon as it exists.

    Parameters
    ----------
    token: the bearer token that every request must carry.
    port: 0 takes a free one.
    records: what it serves; the demo's weather when left out.
    """

    daemon_threads = True

    def __init__(self, token: str, port: int = 0, records: pl.DataFrame | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.records = (typed("weather") if records is None else records).sort("time_hour", "origin")
        self._token, self._asked, self._lock = token, 0, threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def admits(self, authorization: str) -> bool:
        """Whether a request's Authorization header carries the token."""
        return hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    def fault(self) -> tuple[int, dict[str, str], str] | None:
        """Count a weather request; the scripted fault when it is this request's turn."""
        with self._lock:
            self._asked += 1
            return FAULTS.get(self._asked)


class _Handler(BaseHTTPRequestHandler):
    """Answers `GET /weather` and `GET /health`."""

    server: StandIn
    protocol_version = "HTTP/1.1"
    server_version = "NycWeather/1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/health":
            self._answer(200, '{"status": "ok"}')
        elif not self.server.admits(self.headers.get("Authorization", "")):
            self._refuse(401, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})
        elif address.path != "/weather":
            self._refuse(404, f"there is no {address.path} here; try /weather")
        elif fault := self.server.fault():
            self._refuse(fault[0], fault[2], fault[1])
        else:
            self._weather(dict(parse_qsl(address.query)))

    def _weather(self, query: dict[str, str]) -> None:
        try:
            self._answer(200, page_of(self.server.records, query))
        except BadRequest as error:
            self._refuse(400, str(error))

    def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, json.dumps({"error": message}), headers)

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the demo's terminal for the demo."""


@contextmanager
def standin(token: str, port: int = 0, records: pl.DataFrame | None = None) -> Generator[StandIn, None, None]:
    """Serve from a thread of this process for the length of a `with` block; parameters as of `StandIn`."""
    with StandIn(token, port, records) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="weather-standin").start()
        try:
            yield server
        finally:
            server.shutdown()


def main() -> None:
    """Serve until interrupted; the token comes from MILLRACE_API_NYC_TOKEN."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    port = parser.parse_args().port
    with StandIn(os.environ.get("MILLRACE_API_NYC_TOKEN", "demo"), port) as server:
        print(f"weather API at {server.url}/weather", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
