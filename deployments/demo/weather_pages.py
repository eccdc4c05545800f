"""What the weather stand-in answers: a page of records, and the opaque cursor of the next."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

PAGE = 1_000
MOST = 5_000


class BadRequest(Exception):
    """The caller's query makes no sense; the message says why."""


def page_of(records: pl.DataFrame, query: Mapping[str, str]) -> str:
    """One page as JSON text: `{"items": […], "meta": {"total": …, "next_cursor": … or null}}`.

    Parameters
    ----------
    records: all records, sorted by `time_hour`.
    query: `since` (ISO 8601, inclusive), `limit` (2 to 5000) and `cursor`, all optional; a cursor remembers its `since`.

    Raises
    ------
    BadRequest: one of them cannot be read.
    """
    limit = _limit(query.get("limit"))
    since, start = _opened(query["cursor"]) if "cursor" in query else (query.get("since"), 0)
    wanted = records.filter(pl.col("time_hour") >= _moment(since)) if since else records
    items = wanted.slice(start, limit)
    meta = {"total": wanted.height, "next_cursor": _sealed(since, start + limit - 1) if start + limit < wanted.height else None}
    return f'{{"items": {items.write_json()}, "meta": {json.dumps(meta)}}}'


def _limit(text: str | None) -> int:
    try:
        limit = int(text or PAGE)
    except ValueError:
        limit = 0
    if not 2 <= limit <= MOST:
        raise BadRequest(f"limit must be a whole number from 2 to {MOST}")
    return limit


def _moment(since: str) -> str:
    """A moment as the records spell it, so that text order is the order of time."""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise BadRequest("since must be an ISO 8601 timestamp") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sealed(since: str | None, start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([since, start]).encode()).decode()


def _opened(cursor: str) -> tuple[str | None, int]:
    try:
        since, start = json.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("this cursor was not given out here") from None
    return since, int(start)
