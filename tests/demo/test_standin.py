"""The weather stand-in: what a client of it sees."""

import httpx
import polars as pl
import pytest

from deployments.demo.standin import FAULTS, standin

TOKEN = "token-of-the-test"
RECORDS = pl.DataFrame(
    {"time_hour": [f"2013-01-01T{hour:02}:00:00Z" for hour in range(12)], "origin": ["JFK"] * 12, "temp": [None, *range(11)]}
)


@pytest.fixture
def client():
    with (
        standin(TOKEN, records=RECORDS) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
    ):
        yield client


def walk(client: httpx.Client, **query: object) -> tuple[list[dict], list[int]]:
    """All records of all pages, and every status on the way; a refused request is sent again."""
    items, statuses, cursor = [], [], None
    while True:
        answer = client.get("/weather", params=query | ({"cursor": cursor} if cursor else {}))
        statuses.append(answer.status_code)
        if answer.is_success:
            items += answer.json()["items"]
            if not (cursor := answer.json()["meta"]["next_cursor"]):
                return items, statuses


def test_pages_joined_hold_every_record(client):
    items, _ = walk(client, limit=5)
    assert pl.DataFrame(items, schema=RECORDS.schema).unique().sort("time_hour").equals(RECORDS)


def test_each_page_repeats_the_record_before_it(client):
    items, _ = walk(client, limit=5)
    assert [item["temp"] for item in items] == [None, 0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10]


def test_a_429_and_a_500_come_once_each(client):
    _, statuses = walk(client, limit=2)
    assert [(number, status) for number, status in enumerate(statuses, 1) if status != 200] == [
        (n, fault[0]) for n, fault in FAULTS.items()
    ]


def test_the_429_says_how_long_to_wait(client):
    answers = [client.get("/weather") for _ in range(4)]
    assert answers[-1].headers["retry-after"] == "1"


@pytest.mark.parametrize("since", ["2013-01-01T10:00:00Z", "2013-01-01T05:00:00.000000-05:00"])
def test_since_is_inclusive_and_knows_offsets(client, since):
    assert [item["temp"] for item in walk(client, since=since)[0]] == [9, 10]


def test_a_cursor_remembers_its_since(client):
    items, _ = walk(client, since="2013-01-01T08:00:00Z", limit=2)
    assert {item["temp"] for item in items} == {7, 8, 9, 10}


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic dDp0"])
def test_without_the_token_nothing_is_told(client, token):
    answer = client.get("/weather", headers={"Authorization": token})
    assert (answer.status_code, "items" in answer.text) == (401, False)


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"limit": "0"}, {"limit": "many"}, {"cursor": "made-up"}, {"cursor": "W10="}], ids=str
)
def test_a_query_that_makes_no_sense_is_refused(client, query):
    answer = client.get("/weather", params=query)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_an_unknown_path_is_named(client):
    assert "/wether" in client.get("/wether").json()["error"]


def test_health_needs_no_token():
    with standin(TOKEN, records=RECORDS) as server:
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_the_real_weather_has_one_row_per_airport_and_hour():
    with standin(TOKEN) as server:
        assert server.records.height == server.records.select("origin", "time_hour").unique().height == 26_115
