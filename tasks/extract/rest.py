"""A REST API as a source: pages of JSON records, by cursor or window, resumed at the last page that landed."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.batch import Cursor, Position
from tasks.errors import BadData, Misconfigured
from tasks.extract.http import Answer, Caller, Retry
from tasks.extract.paging import Paging, Seen, SinglePage, Token, dig
from tasks.extract.records import frame, stack
from tasks.extract.since import Bounds, Since, decode, encode
from tasks.extract.source import Page, Request

if TYPE_CHECKING:
    from blocks.rest_api import RestApi

GATHERED = 10_000
"""Rows that answers are gathered to before they are handed on."""

DONE: Mapping[str, Any] = {"done": True}
"""`resume` after the last row: a read from there has nothing left."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Records of a REST API.

    Where APIs give no order, the cursor moves only when the last page is read (see `Since.ordered`); what continues an
    interrupted read is the page token. Nested objects stay structs; columns with mixed types become text.

    Parameters
    ----------
    api: name of the rest-api block with address and credential, or the `RestApi` itself.
    path: path below the block's base_url.
    records: dotted path of the list in the answer; None where the answer is the list.
    pages: how pages follow each other: `NextCursor`, `Offset`, `PageNumber`, `LinkHeader`, `SinglePage`.
    since: the column that only grows; without it every run reads everything.
    params, headers: sent with every request. Never put a secret there: that belongs in the block.
    method: HTTP method. max_bytes: the largest answer that is read. retry: how often a request is repeated.
    """

    api: str | RestApi
    path: str
    records: str | None = None
    pages: Paging = field(default_factory=SinglePage)
    since: Since | None = None
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    max_bytes: int = 64 << 20
    retry: Retry = field(default_factory=Retry)

    @property
    def incremental(self) -> bool:
        """Whether there is a cursor."""
        return self.since is not None

    @property
    def sparse(self) -> bool:
        """Yes: a JSON record may lack a field."""
        return True

    def describe(self) -> str:
        """`GET github/repos/acme/shop/issues`."""
        return f"{self.method} {self.api if isinstance(self.api, str) else self.api.name}{self.path}"

    def read(self, request: Request) -> Generator[Page, None, None]:
        """Pages of up to some ten thousand rows, gathered from as many answers as it takes; see `Source.read`."""
        if request.start.resume and request.start.resume.get("done"):
            return
        if request.interval and self.since is None:
            raise Misconfigured(
                "A window was asked for, but the source has no Since",
                do="Give Rest a Since, or run without dates.",
                pipeline=request.pipeline,
            )
        from blocks.rest_api import find_rest_api

        api = find_rest_api(self.api) if isinstance(self.api, str) else self.api
        with api.client() as client:
            walk = _Walk(self, request, Caller(api, client, self.retry, self.max_bytes))
            yield from walk.gathered(min(request.batch_rows, GATHERED))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of one answer, or a part of them, and where the source stands behind them."""

    rows: pl.DataFrame
    position: Position


class _Walk:
    """One read: goes from token to token, and remembers the bounds that it began with, so that a resumed read asks the same."""

    def __init__(self, source: Rest, request: Request, caller: Caller) -> None:
        self._source, self._request, self._caller = source, request, caller
        self._resume = request.start.resume or {}
        self._bounds = self._begin()
        self._high: Cursor = self._resume.get("high", request.start.cursor)
        self._left = request.limit

    def gathered(self, size: int) -> Iterator[Page]:
        """Pages of about `size` rows, never more than the request allows."""
        held: list[_Piece] = []
        counted = 0
        for piece in self._pieces():
            if held and sum(each.rows.height for each in held) + piece.rows.height > self._request.batch_rows:
                yield self._page(held, self._caller.calls - counted)
                held, counted = [], self._caller.calls
            held.append(piece)
            if sum(each.rows.height for each in held) >= size:
                yield self._page(held, self._caller.calls - counted)
                held, counted = [], self._caller.calls
        if held:
            yield self._page(held, self._caller.calls - counted)

    def _begin(self) -> Bounds:
        """The bounds of this read: the ones that it began with, when it continues."""
        since = self._source.since
        if since is None:
            return Bounds()
        bounds = since.bounds(self._request)
        if "low" in self._resume and not bounds.window:
            return Bounds(None if self._resume["low"] is None else decode(self._resume["low"]))
        return bounds

    def _pieces(self) -> Iterator[_Piece]:
        """Answers one after the other, cut where they are larger than a page may be, until the last or the limit."""
        token: Token = self._resume.get("token")
        skip = int(self._resume.get("skip", 0))
        watch = _Watch(self._source)
        while True:
            answer = self._ask(token)
            found = self._records(answer)
            following = self._own(self._source.pages.after(Seen(answer.json, len(found), answer.links, token)))
            watch.moves(token, following, answer.body, len(found))
            rows = self._kept(frame(found))
            yield from self._cut(rows, token, following, skip)
            if following is None or (self._left is not None and self._left <= 0):
                return
            token, skip = following, 0

    def _cut(self, rows: pl.DataFrame, token: Token, following: Token, skip: int) -> Iterator[_Piece]:
        at = min(skip, rows.height)
        while True:
            allowed = self._request.batch_rows if self._left is None else min(self._request.batch_rows, self._left)
            part = rows.slice(at, allowed)
            at += part.height
            if self._source.since is not None:
                self._high = self._source.since.highest(part, self._high)
            if self._left is not None:
                self._left -= part.height
            ended = at >= rows.height
            yield _Piece(part, self._position(following, 0) if ended else self._position(token, at, within=True))
            if ended or self._left == 0:
                return

    def _position(self, token: Token, skip: int, *, within: bool = False) -> Position:
        """Where the source stands; `within` a page the token may be None, for the first one."""
        windowed, start = bool(self._request.interval), self._request.start.cursor
        ended = token is None and not within
        moves = not windowed and (ended or (self._source.since is not None and self._source.since.ordered))
        if ended:
            return Position(self._high if moves else start, DONE)
        low = None if self._bounds.low is None else encode(self._bounds.low)
        return Position(self._high if moves else start, {"token": token, "skip": skip, "low": low, "high": self._high})

    def _ask(self, token: Token) -> Answer:
        if isinstance(token, str) and token.startswith(("http://", "https://", "/")):
            return self._caller.call(self._source.method, token, {}, self._source.headers)
        params = {**self._source.params, **self._window(), **self._source.pages.params(token)}
        return self._caller.call(self._source.method, self._source.path, params, self._source.headers)

    def _window(self) -> dict[str, str | int | float]:
        since, bounds = self._source.since, self._bounds
        sent: dict[str, str | int | float] = {}
        if since and since.param and bounds.low is not None:
            sent[since.param] = since.sent(bounds.low)
        if since and since.param_end and bounds.high is not None:
            sent[since.param_end] = since.sent(bounds.high)
        return sent

    def _records(self, answer: Answer) -> list[dict[str, Any]]:
        path = self._source.records
        found = answer.json if path is None else dig(answer.json, path)
        if found is None and (answer.json is None or (path and _holds(answer.json, path))):
            return []
        if not isinstance(found, list):
            there = ", ".join(map(repr, list(answer.json)[:20])) if isinstance(answer.json, dict) else type(answer.json).__name__
            raise BadData(
                f"The answer of {self._source.describe()} has no list {f'at `{path}`' if path else 'at its top'}; it has {there}",
                do="Correct `records` of the source: the dotted path of the list in the answer.",
                setting="records",
                value=self._caller.excerpt(answer.body),
            )
        return [record if isinstance(record, dict) else {"value": record} for record in found]

    def _kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows inside of the bounds, where the API does not see to that itself."""
        since = self._source.since
        if since is None or (since.param and not self._bounds.window):
            return rows
        return since.within(rows, self._bounds)

    def _own(self, token: Token) -> Token:
        """The token without our own key, which an API may repeat in the next page's URL."""
        name = getattr(self._caller.api.auth, "name", None)
        if not isinstance(token, str) or "?" not in token or name is None:
            return token
        import httpx

        return str(httpx.URL(token).copy_remove_param(name))

    def _page(self, held: list[_Piece], calls: int) -> Page:
        return Page(stack(piece.rows for piece in held), held[-1].position, self._source.describe(), calls)


class _Watch:
    """Finds paging that does not move: a token that was used before, or the same answer twice."""

    def __init__(self, source: Rest) -> None:
        self._source = source
        self._tokens: set[Token] = set()
        self._last = b""

    def moves(self, token: Token, following: Token, body: bytes, rows: int) -> None:
        """Raise BadData when this page is the one before, or leads back to a page that was read."""
        digest = hashlib.sha256(body).digest()
        self._tokens.add(token)
        what = None
        if following is not None and following in self._tokens:
            what = f"The page token of {self._source.describe()} does not move: it leads back to a page that was read already"
        elif rows and digest == self._last:
            what = f"{self._source.describe()} answered the same page twice in a row"
        self._last = digest
        if what:
            do = "Check `pages` of the source: the API may not know the parameter, or give its token elsewhere."
            raise BadData(what, do=do, setting="pages", value=following if what.startswith("The page token") else token)


def _holds(found: object, path: str) -> bool:
    """Whether the last key of the path is there, even with null as its value."""
    *above, last = path.split(".")
    parent = dig(found, ".".join(above)) if above else found
    return isinstance(parent, dict) and last in parent
