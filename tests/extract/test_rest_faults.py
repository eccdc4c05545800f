"""What the user sees when an API misbehaves."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.auth import ApiKey, Bearer
from blocks.rest_api import RestApi
from tasks.batch import Interval
from tasks.errors import BadData, MillraceError, Misconfigured, Transient
from tasks.extract.http import Retry, retry_after
from tasks.extract.paging import LinkHeader, NextCursor, Offset, Paging, SinglePage
from tasks.extract.rest import Rest
from tasks.extract.since import Since
from tasks.extract.source import Page, Request
from tests.servers.web import Asked, Given, Web, as_json, serving

SECRET = "s3cret-token"
QUICK = Retry(attempts=3, wait=0.001, longest=1.0)
Answer = Callable[[Asked], Given]


@pytest.fixture
def fail() -> Iterator[Callable[..., MillraceError]]:
    """Reads from an API that answers so, and gives the error."""

    def failing(answer: Answer, *, web: list[Web] | None = None, **options: Any) -> MillraceError:
        with serving(answer) as server:
            if web is not None:
                web.append(server)
            with pytest.raises(MillraceError) as caught:
                fetch(server, **options)
        assert SECRET not in str(caught.value) + repr(caught.value)
        return caught.value

    return failing


def fetch(server: Web, pages: Paging | None = None, records: str | None = None, **options: Any) -> list[Page]:
    api = RestApi(name="shop", base_url=server.url, auth=Bearer(token=SecretStr(SECRET)), timeout_seconds=options.pop("timeout", 5))
    request = options.pop("request", Request("things"))
    source = Rest(api, "/things", records, pages or SinglePage(), retry=options.pop("retry", QUICK), **options)
    return list(source.read(request))


def test_a_500_is_transient_after_all_attempts(fail: Callable[..., MillraceError]) -> None:
    web: list[Web] = []
    error = fail(lambda _: Given(b"oops", 500), web=web)
    assert isinstance(error, Transient)
    assert "/things answered 500 Internal Server Error: 'oops'" in error.what
    assert "goes on from the last page" in error.do
    assert len(web[0].asked) == 3


def test_a_503_that_passes_is_not_seen() -> None:
    with serving(lambda asked: Given(b"", 503) if asked.number < 3 else as_json([{"id": 1}])) as server:
        pages = fetch(server)
    assert pages[0].rows["id"].to_list() == [1]
    assert pages[0].calls == 3


def test_a_401_names_the_block(fail: Callable[..., MillraceError]) -> None:
    web: list[Web] = []
    error = fail(lambda _: as_json({"message": f"Bad credentials: {SECRET}"}, 401), web=web)
    assert isinstance(error, Misconfigured)
    assert "answered 401" in error.what
    assert "credential of `shop`" in error.what
    assert "rest-api block `shop`" in error.do
    assert len(web[0].asked) == 1


def test_a_404_shows_the_start_of_the_answer(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: as_json({"message": "no such route"}, 404))
    assert isinstance(error, Misconfigured)
    assert "no such route" in error.what


def test_html_instead_of_json_is_shown_without_secrets(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: Given(f"<html>Please log in {SECRET} {'x' * 900}</html>".encode(), headers={"Content-Type": "text/html"}))
    assert isinstance(error, BadData)
    assert "answered HTML instead of JSON" in error.what
    assert "<html>Please log in ***" in error.what
    assert len(error.what) < 500


def test_invalid_json_is_bad_data(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: Given(b'[{"id": 1}, {"id"'))
    assert isinstance(error, BadData)
    assert "17 bytes that are no JSON" in error.what


def test_a_cut_off_answer_is_transient(fail: Callable[..., MillraceError]) -> None:
    assert isinstance(fail(lambda _: Given(b'[{"id"', claim=100)), Transient)


def test_a_broken_gzip_answer_is_transient(fail: Callable[..., MillraceError]) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert isinstance(fail(lambda _: Given(b"no gzip", headers=headers)), Transient)


def test_a_gzip_bomb_is_stopped(fail: Callable[..., MillraceError]) -> None:
    bomb = gzip.compress(b" " * 5_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    error = fail(lambda _: Given(bomb, headers=headers), max_bytes=1_000_000)
    assert isinstance(error, BadData)
    assert "larger than 1,000,000 bytes" in error.what


def test_a_page_that_repeats_is_an_error(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: as_json([{"id": 1}]), pages=Offset())
    assert isinstance(error, BadData)
    assert "the same page twice" in error.what


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"]], ids=["stands still", "goes in a circle"])
def test_a_token_that_does_not_move_is_an_error(tokens: list[str], fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda asked: as_json({"items": [{"id": asked.number}], "next": tokens[(asked.number - 1) % len(tokens)]}), **CURSOR)
    assert isinstance(error, BadData)
    assert "does not move" in error.what


CURSOR: dict[str, Any] = {"pages": NextCursor("next"), "records": "items"}


def test_a_missing_list_names_what_is_there(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: as_json({"results": [], "count": 0}), records="items")
    assert isinstance(error, BadData)
    assert "no list at `items`; it has 'results', 'count'" in error.what


def test_a_null_list_is_no_rows() -> None:
    with serving(lambda _: as_json({"items": None})) as server:
        assert [page.rows.height for page in fetch(server, records="items")] == [0]


def test_nobody_there_is_transient() -> None:
    with serving(lambda _: as_json([])) as server:
        pass
    with pytest.raises(Transient, match="could not be read"):
        fetch(server)


def test_a_slow_answer_is_transient(fail: Callable[..., MillraceError]) -> None:
    released = threading.Event()

    def answer(_: Asked) -> Given:
        released.wait(0.5)
        return Given(b"[]")

    error = fail(answer, timeout=0.05, retry=Retry(attempts=1))
    assert isinstance(error, Transient)
    assert "did not answer in time" in error.what


def test_a_long_retry_after_goes_to_the_run(fail: Callable[..., MillraceError]) -> None:
    web: list[Web] = []
    error = fail(lambda _: as_json({}, 429, Retry_After="3600"), web=web)
    assert isinstance(error, Transient)
    assert error.retry_after == 3600
    assert len(web[0].asked) == 1


def test_a_missing_cursor_column_names_close_ones(fail: Callable[..., MillraceError]) -> None:
    error = fail(lambda _: as_json([{"updatedat": "2024-01-01T00:00:00Z"}]), since=Since("updated_at"))
    assert isinstance(error, Misconfigured)
    assert "updatedat" in error.do


def test_a_window_without_since_is_refused(fail: Callable[..., MillraceError]) -> None:
    request = Request("things", interval=Interval(datetime(2024, 1, 1, tzinfo=UTC), None))
    assert isinstance(fail(lambda _: as_json([]), request=request), Misconfigured)


def test_retry_after_is_seconds_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after("7") == 7
    assert 80 < (retry_after(later) or 0) <= 90
    assert [retry_after(each) for each in ("0", "-1", "soon", "", None, "Mon, 01 Jan 2001 00:00:00 GMT")] == [None] * 6


def test_a_next_page_elsewhere_gets_no_credential() -> None:
    with serving(lambda _: as_json([{"id": 2}])) as other:
        link = {"Link": f'<{other.url}/more>; rel="next"'}
        with serving(lambda _: as_json([{"id": 1}], **link)) as server:
            pages = fetch(server, LinkHeader())
        assert [i for page in pages for i in page.rows["id"]] == [1, 2]
        assert "authorization" not in other.asked[0].headers
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_redirect_elsewhere_gets_no_credential() -> None:
    with serving(lambda _: as_json([{"id": 2}])) as other:
        with serving(lambda _: Given(b"", 302, {"Location": f"{other.url}/things"})) as server:
            assert fetch(server)[0].rows["id"].to_list() == [2]
        assert "authorization" not in other.asked[0].headers


def test_a_key_that_the_api_repeats_is_not_stored() -> None:
    def answer(asked: Asked) -> Given:
        following = f"/things?cursor=2&key={SECRET}" if asked.number == 1 else None
        return as_json({"items": [{"id": asked.number}], "next": following})

    with serving(answer) as server:
        api = RestApi(name="shop", base_url=server.url, auth=ApiKey(key=SecretStr(SECRET), name="key", location="query"))
        pages = list(Rest(api, "/things", "items", NextCursor("next")).read(Request("things", batch_rows=1)))
    assert [asked.query["key"] for asked in server.asked] == [SECRET] * 2
    assert SECRET not in repr([page.position for page in pages])


def test_a_resumed_read_asks_with_the_bounds_that_it_began_with() -> None:
    def answer(asked: Asked) -> Given:
        return as_json(
            {"items": [{"id": asked.number, "at": "2024-01-05T00:00:00Z"}], "next": "b" if "cursor" not in asked.query else None}
        )

    from tasks.batch import Position

    with serving(answer) as server:
        options: dict[str, Any] = {**CURSOR, "since": Since("at", param="since", lag="1d")}
        first = fetch(server, request=Request("things", start=Position("2024-01-03T00:00:00.000000Z"), batch_rows=1), **options)
        moved = Position("2024-01-05T00:00:00.000000Z", first[0].position.resume)
        fetch(server, request=Request("things", start=moved), **options)
    assert [asked.query["since"] for asked in server.asked] == ["2024-01-02T00:00:00.000000Z"] * 3
    assert first[0].position.cursor == "2024-01-03T00:00:00.000000Z"
    assert first[-1].position.cursor == "2024-01-05T00:00:00.000000Z"
