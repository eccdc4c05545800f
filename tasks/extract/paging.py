"""Ways in which an API hands out its pages; one method to write for a new one: `after`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import BadData

Json = Any
"""Parsed JSON."""

Token = str | int | None
"""What asks for a page; None is the first page."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The page that was just read.

    Parameters
    ----------
    json: the whole answer. rows: records in it. links: its Link headers, relation → URL. token: what asked for it.
    """

    json: Json
    rows: int
    links: Mapping[str, str]
    token: Token


class Paging(ABC):
    """How to get from one page to the next. That a token moves at all is watched by the source."""

    @abstractmethod
    def after(self, page: Seen) -> Token:
        """The token of the next page, or None where that was the last; a URL is followed as it is."""

    def params(self, token: Token) -> dict[str, str | int]:
        """Query parameters that ask for the page of a token."""
        return {}


@dataclass(frozen=True, slots=True)
class SinglePage(Paging):
    """Everything in one answer."""

    def after(self, page: Seen) -> Token:
        """There is no other page."""
        return None


@dataclass(frozen=True, slots=True)
class NextCursor(Paging):
    """The answer holds a token, or the URL, of the next page; none on the last one.

    Parameters
    ----------
    path: where it is, e.g. `meta.next_cursor`. param: query parameter that takes it.
    """

    path: str
    param: str = "cursor"

    def after(self, page: Seen) -> Token:
        """The token in the answer."""
        found = dig(page.json, self.path)
        if found is None or found is False or found == "":
            return None
        if isinstance(found, (str, int)):
            return found
        raise BadData(
            f"`{self.path}` is no page token but {type(found).__name__}",
            do="Give NextCursor the path of the token.",
            setting="pages",
            value=found,
        )

    def params(self, token: Token) -> dict[str, str | int]:
        """The token as it was given."""
        return {} if token is None else {self.param: token}


@dataclass(frozen=True, slots=True)
class Offset(Paging):
    """Pages by offset and limit. Read until a page is empty, since an API may give fewer than asked for; `total` saves that request.

    Parameters
    ----------
    limit_param, offset_param: query parameters. size: rows asked for. total: path of the number of all rows, where the answer has it.
    """

    limit_param: str = "limit"
    offset_param: str = "offset"
    size: int = 100
    total: str | None = None

    def after(self, page: Seen) -> Token:
        """The offset behind the last row."""
        at = int(page.token or 0) + page.rows
        total = dig(page.json, self.total) if self.total else None
        return None if page.rows == 0 or (total is not None and at >= int(total)) else at

    def params(self, token: Token) -> dict[str, str | int]:
        """Limit and offset."""
        return {self.limit_param: self.size, self.offset_param: token or 0}


@dataclass(frozen=True, slots=True)
class PageNumber(Paging):
    """Pages by number. Read until a page is empty; `last` saves that request.

    Parameters
    ----------
    param: query parameter of the number. size, size_param: rows asked for, and the parameter that takes it.
    first: number of the first page. last: path of the number of the last page, where the answer has it.
    """

    param: str = "page"
    size: int | None = None
    size_param: str = "per_page"
    first: int = 1
    last: str | None = None

    def after(self, page: Seen) -> Token:
        """The next number."""
        at = self.first if page.token is None else int(page.token)
        last = dig(page.json, self.last) if self.last else None
        return None if page.rows == 0 or (last is not None and at >= int(last)) else at + 1

    def params(self, token: Token) -> dict[str, str | int]:
        """Number and size."""
        size = {} if self.size is None else {self.size_param: self.size}
        return {self.param: self.first if token is None else token, **size}


@dataclass(frozen=True, slots=True)
class LinkHeader(Paging):
    """The answer's `Link` header names the next page (RFC 8288).

    Parameters
    ----------
    rel: relation of the link.
    """

    rel: str = "next"

    def after(self, page: Seen) -> Token:
        """The URL in the header."""
        return page.links.get(self.rel)


def dig(found: Json, path: str) -> Json:
    """What lies at a dotted path of keys in nested objects; None where it ends early."""
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
