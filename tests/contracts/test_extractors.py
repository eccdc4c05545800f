"""What every source owes the engine: each extractor below passes all of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from blocks.auth import Bearer
from blocks.rest_api import RestApi
from blocks.warehouse import Warehouse
from tasks.batch import Interval, Position
from tasks.extract.files import Files
from tasks.extract.paging import LinkHeader, NextCursor, Offset, PageNumber, SinglePage
from tasks.extract.rest import Rest
from tasks.extract.since import Since
from tasks.extract.source import Page, Request, Source
from tasks.extract.sql import Sql
from tests.servers.web import Asked, Given, Web, as_json, serving

SECRET = "s3cret-token"
HOSTILE = ["with space", 'quo"te', "it's", "émoji 🚀", "UPPER", "select", "semi;colon", "100%", "{brace}", "back\\slash"]
START = datetime(2024, 1, 1, tzinfo=UTC)

Record = dict[str, Any]


def records(count: int) -> list[Record]:
    """Records whose times come in equal pairs, oldest first."""
    return [{"id": i, "at": (START + timedelta(minutes=i // 2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "name": f"n{i}"} for i in range(count)]


@dataclass
class World:
    """What a factory may use."""

    stack: ExitStack
    folder: Path
    fixtures: pytest.FixtureRequest

    @property
    def warehouse(self) -> Warehouse:
        """A database of the test's own, made when it is asked for."""
        found: Warehouse = self.fixtures.getfixturevalue("warehouse")
        return found

    def web(self, answer: Callable[[Asked], Given]) -> Web:
        """A server for the length of the test."""
        return self.stack.enter_context(serving(answer))


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        world = World(stack, tmp_path, request)
        if request.node.callspec.params["factory"] in SQL:
            monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", world.warehouse.dsn.get_secret_value())
        yield world


def _api(world: World, rows: list[Record], page: Callable[[list[Record], Asked], Given]) -> RestApi:
    def answer(asked: Asked) -> Given:
        since = asked.query.get("since")
        return page([row for row in rows if since is None or row["at"] >= since], asked)

    return RestApi(name="fake", base_url=world.web(answer).url, auth=Bearer(token=SecretStr(SECRET)))


def _window(rows: list[Record], asked: Asked, size: int = 3) -> tuple[list[Record], int]:
    at = int(asked.query.get("cursor", asked.query.get("offset", 0)))
    return rows[at : at + size], at + size


def rest_cursor(world: World, rows: list[Record]) -> Source:
    def page(rows: list[Record], asked: Asked) -> Given:
        found, after = _window(rows, asked)
        return as_json({"data": {"items": found}, "next": after if after < len(rows) else None})

    return Rest(_api(world, rows, page), "/things", "data.items", NextCursor("next"), Since("at", param="since"))


def rest_offset(world: World, rows: list[Record]) -> Source:
    return Rest(
        _api(world, rows, lambda rows, asked: as_json(_window(rows, asked)[0])), "/things", None, Offset(size=3), Since("at", param="since")
    )


def rest_number(world: World, rows: list[Record]) -> Source:
    def page(rows: list[Record], asked: Asked) -> Given:
        at = 3 * (int(asked.query["page"]) - 1)
        return as_json(rows[at : at + 3])

    return Rest(_api(world, rows, page), "/things", pages=PageNumber(), since=Since("at", param="since"))


def rest_link(world: World, rows: list[Record]) -> Source:
    def page(rows: list[Record], asked: Asked) -> Given:
        found, after = _window(rows, asked)
        since = f"&since={asked.query['since']}" if "since" in asked.query else ""
        return as_json(found, **({"Link": f'</things?cursor={after}{since}>; rel="next"'} if after < len(rows) else {}))

    return Rest(_api(world, rows, page), "/things", pages=LinkHeader(), since=Since("at", param="since"))


def rest_filtered_here(world: World, rows: list[Record]) -> Source:
    return Rest(_api(world, rows, lambda rows, _: as_json(rows)), "/things", pages=SinglePage(), since=Since("at"))


def sql_key(world: World, rows: list[Record]) -> Source:
    _table(world.warehouse, rows)
    return Sql(table="public.things", key=("id",), since=Since("at"))


def sql_since_alone(world: World, rows: list[Record]) -> Source:
    _table(world.warehouse, rows)
    return Sql(query="SELECT * FROM things", since=Since("at"))


def _table(warehouse: Warehouse, rows: list[Record]) -> None:
    names = list(dict.fromkeys(["id", "at", "name", *(name for row in rows for name in row)]))
    kinds = {"id": "bigint PRIMARY KEY", "at": "timestamptz"}
    quoted = [psycopg.sql.Identifier(name) for name in names]
    with warehouse.connect() as connection:
        columns = [
            psycopg.sql.SQL("{} {}").format(each, psycopg.sql.SQL(kinds.get(name, "text")))
            for each, name in zip(quoted, names, strict=True)
        ]
        connection.execute(psycopg.sql.SQL("CREATE TABLE things ({})").format(psycopg.sql.SQL(", ").join(columns)))
        marks = psycopg.sql.SQL(", ").join(psycopg.sql.Placeholder() * len(names))
        insert = psycopg.sql.SQL("INSERT INTO things VALUES ({})").format(marks)
        connection.cursor().executemany(insert, [[row.get(name) for name in names] for row in rows])


def files_csv(world: World, rows: list[Record]) -> Source:
    return _files(world, rows, "csv", lambda frame, path: frame.write_csv(path))


def files_jsonl(world: World, rows: list[Record]) -> Source:
    return _files(world, rows, "jsonl", lambda frame, path: frame.write_ndjson(path))


def files_parquet(world: World, rows: list[Record]) -> Source:
    return _files(world, rows, "parquet", lambda frame, path: frame.write_parquet(path))


def _files(world: World, rows: list[Record], kind: str, write: Callable[[pl.DataFrame, Path], object]) -> Source:
    folder = world.folder / "in"
    folder.mkdir()
    for number, at in enumerate(range(0, len(rows), 5)):
        write(pl.DataFrame(rows[at : at + 5]), folder / f"{number:03d}.{kind}")
    return Files(str(folder), glob=f"*.{kind}")


REST = [rest_cursor, rest_offset, rest_number, rest_link, rest_filtered_here]
SQL = [sql_key, sql_since_alone]
FILES = [files_csv, files_jsonl, files_parquet]
Factory = Callable[[World, list[Record]], Source]
every = pytest.mark.parametrize("factory", [*REST, *SQL, *FILES], ids=lambda each: each.__name__)
cursored = pytest.mark.parametrize("factory", [*REST, *SQL], ids=lambda each: each.__name__)


def read(source: Source, **asked: Any) -> list[Page]:
    return list(source.read(Request("things", **asked)))


def ids(pages: list[Page]) -> list[int]:
    """Sorted, since nothing orders rows of equal times where there is no key."""
    return sorted(int(value) for page in pages if page.rows.width for value in page.rows["id"])


@every
def test_pages_joined_are_all_records(factory: Factory, world: World) -> None:
    pages = read(factory(world, records(17)), batch_rows=4)
    assert ids(pages) == list(range(17))
    assert {name for page in pages for name in page.rows["name"]} == {f"n{i}" for i in range(17)}


@every
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_read_from_any_position_continues_exactly(factory: Factory, world: World, size: int) -> None:
    source = factory(world, records(17))
    pages = read(source, batch_rows=size)
    for number, page in enumerate(pages):
        stored = Position.from_json(json.loads(json.dumps(page.position.to_json())))
        seen = {uri: digest for before in pages[: number + 1] for uri, digest in before.position.items.items()}
        again, behind = ids(read(source, start=stored, seen=seen, batch_rows=size)), ids(pages[number + 1 :])
        if factory is sql_since_alone and size == 1:  # no key tells equal times apart, so rows of a split group come again
            assert set(behind) <= set(again)
        else:
            assert again == behind


@every
def test_no_page_holds_more_than_the_batch(factory: Factory, world: World) -> None:
    pages = read(factory(world, records(17)), batch_rows=4)
    assert max(page.rows.height for page in pages) <= 4


@every
def test_a_limit_stops_the_read_without_moving_past_unread_rows(factory: Factory, world: World) -> None:
    source = factory(world, records(17))
    pages = read(source, limit=6)
    assert ids(pages) == list(range(6))
    rest = read(source, start=Position(pages[-1].position.cursor), seen=dict(pages[-1].position.items))
    assert set(range(6, 17)) <= set(ids(rest))


@cursored
def test_second_read_yields_only_the_lag_window(factory: Factory, world: World) -> None:
    source = factory(world, records(40))
    cursor = read(source)[-1].position.cursor
    assert cursor == "2024-01-01T00:19:00.000000Z"
    assert ids(read(source, start=Position(cursor))) == list(range(28, 40))


@cursored
def test_no_lag_reads_equal_values_again(factory: Factory, world: World) -> None:
    source = replace(factory(world, records(40)), since=Since("at", param=_param(factory), lag="0s"))  # type: ignore[type-var]  # all are dataclasses
    assert ids(read(source, start=Position("2024-01-01T00:19:00.000000Z"))) == [38, 39]


@cursored
def test_the_cursor_never_goes_back(factory: Factory, world: World) -> None:
    start = "2030-01-01T00:00:00.000000Z"
    pages = read(factory(world, records(5)), start=Position(start), full=True)
    assert {page.position.cursor for page in pages} == {start}
    assert ids(pages) == list(range(5))


@cursored
def test_a_window_is_half_open_and_leaves_the_cursor(factory: Factory, world: World) -> None:
    window = Interval(START + timedelta(minutes=5), START + timedelta(minutes=8))
    pages = read(factory(world, records(40)), interval=window, start=Position("2024-01-01T00:01:00.000000Z"), batch_rows=2)
    assert ids(pages) == list(range(10, 16))
    assert {page.position.cursor for page in pages} == {"2024-01-01T00:01:00.000000Z"}


@cursored
def test_rows_without_a_cursor_are_read_every_time(factory: Factory, world: World) -> None:
    if _param(factory):
        return  # there the API decides what a request brings
    source = factory(world, [*records(4), {"id": 4, "at": None, "name": "n4"}])
    pages = read(source)
    assert sorted(ids(pages)) == [0, 1, 2, 3, 4]
    assert 4 in ids(read(source, start=Position("2030-01-01T00:00:00.000000Z")))


@every
def test_an_empty_source_has_no_rows_and_no_error(factory: Factory, world: World) -> None:
    assert ids(read(factory(world, []))) == []


@every
def test_hostile_column_names_come_as_they_are(factory: Factory, world: World) -> None:
    rows = [{"id": i, "at": "2024-01-01T00:00:00.000000Z", "name": "n", **dict.fromkeys(HOSTILE, f"v{i}")} for i in range(3)]
    pages = read(factory(world, rows))
    assert set(HOSTILE) <= set(pages[0].rows.columns)
    assert pages[0].rows['quo"te'].to_list() == ["v0", "v1", "v2"]


@every
def test_closing_early_releases_connections_and_files(factory: Factory, world: World) -> None:
    reading = factory(world, records(17)).read(Request("things", batch_rows=2))
    next(reading)
    reading.close()
    gc.collect()
    assert not [path for path in Path("/proc/self/fd").iterdir() if str(world.folder / "in") in str(path.resolve())]
    if factory in SQL:
        with world.warehouse.connect() as connection:
            others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            assert connection.execute(others).fetchone() == (0,)


@every
def test_no_secret_is_shown(factory: Factory, world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    source = factory(world, records(3))
    pages = read(source)
    shown = caplog.text + repr(source) + source.describe() + repr([(page.position, page.origin) for page in pages])
    assert SECRET not in shown
    if factory in SQL:
        assert conninfo_to_dict(world.warehouse.dsn.get_secret_value())["password"] not in shown


def _param(factory: Factory) -> str | None:
    return "since" if factory in REST and factory is not rest_filtered_here else None
