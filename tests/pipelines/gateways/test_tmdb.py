"""The gateway to TMDB against a local server that misbehaves: what is asked, how often, what comes of it."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import pickle
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gateways import tmdb as gateway
from pipelines.gateways.pacing import FIRST_BACKOFF_S, LONGEST_PAUSE_S, retry_after_s
from pipelines.gateways.tmdb import Result, TmdbClient, TmdbError, TmdbKeyError, parse, to_frame, wanted
from warehouse.tables.enrichment import RAW_TMDB_API__DETAILS, TMDB_DETAILS

V3_KEY = "0123456789abcdef0123456789abcdef"
V4_KEY = "eyJhbGciOi.eyJhdWQiOiJ.s3cr3t-s1gn4ture_"
NOW = datetime(2026, 11, 20, 12, 0)


class FakeTime:
    """Time that passes only while somebody sleeps: the sleeper that wakes first wakes next."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        me = (self.now + seconds, len(self.slept))
        heapq.heappush(self._sleepers, me)
        # A few turns of the event loop let the others queue up before the earliest of them wakes.
        for _ in range(20):
            await asyncio.sleep(0)
        while self._sleepers[0] != me:
            await asyncio.sleep(0)
        heapq.heappop(self._sleepers)
        self.now = max(self.now, me[0])


def client(server: Any, time: FakeTime | None = None, key: str = V4_KEY, **options: Any) -> TmdbClient:
    time = time or FakeTime()
    return TmdbClient(key, base_url=server.url, sleep=time.sleep, clock=time.clock, **options)


def fetch(server: Any, ids: list[int], **options: Any) -> tuple[dict[int, Result], Any]:
    results: list[Result] = []
    summary = client(server, **options).fetch(ids, results.append)
    assert len(results) == summary.asked == summary.found + summary.missing + summary.failed
    assert sum(summary.failures.values()) == summary.failed
    assert summary.requests == len(server.requests)
    return {result.tmdb_id: result for result in results}, summary


def test_every_id_is_asked_for_once_and_read(tmdb: Any) -> None:
    results, summary = fetch(tmdb, [3, 1, 2, 3, 1])
    assert summary.asked == summary.found == 3
    assert tmdb.counts == {1: 1, 2: 1, 3: 1}
    assert all(query["append_to_response"] == ["credits"] for _, query, _ in tmdb.requests)
    assert results[2].details == {
        "tmdb_id": 2,
        "title": "Film 2",
        "original_title": "Film 2 (original)",
        "directors": ["Dora Director", "Dan Director"],
        "cast_members": [f"Actor {n}" for n in range(10)],
        "genres": ["Drama", "Comedy"],
        "plot": "Somebody looks for something.",
        "runtime_min": 101,
        "languages": ["fr"],
        "countries": ["FR"],
        "imdb_id": "tt0000002",
        "year": 1987,
    }


def test_no_ids_no_request(tmdb: Any) -> None:
    _, summary = fetch(tmdb, [])
    assert summary.asked == 0
    assert tmdb.requests == []


@pytest.mark.parametrize("bad", [0, -1, "1/../../account", None, 1.5, 2**63])
def test_only_positive_integers_become_addresses(tmdb: Any, bad: Any) -> None:
    with pytest.raises(ValueError, match="is no TMDB id"):
        client(tmdb).fetch([bad], print)
    assert tmdb.requests == []


def test_a_429_is_waited_out_as_long_as_it_asks(tmdb: Any, reply: Any) -> None:
    tmdb.replies[1] = [reply(429, headers={"Retry-After": "7"})]
    time = FakeTime()
    _, summary = fetch(tmdb, [1], time=time)
    assert summary.found == 1
    assert tmdb.counts == {1: 2}
    assert sum(time.slept) == pytest.approx(7)


def test_a_429_holds_everybody_back(reply: Any) -> None:
    time = FakeTime()
    seen: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(time.now)
        if len(seen) == 3:
            return httpx.Response(429, headers={"Retry-After": "9"})
        return httpx.Response(200, json={})

    TmdbClient(
        V4_KEY,
        requests_per_second=10,
        workers=4,
        transport=httpx.MockTransport(answer),
        sleep=time.sleep,
        clock=time.clock,
    ).fetch(range(1, 20), lambda _: None)
    refused_at = seen[2]
    assert len(seen) == 20
    assert all(at <= refused_at or at >= refused_at + 9 for at in seen)


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"Retry-After": "3"}, 3),
        ({"Retry-After": "999999999"}, LONGEST_PAUSE_S),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 GMT", "Date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 30),
        ({"Retry-After": "Fri, 20 Nov 2026 11:00:00 GMT", "Date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "99999999999999999999"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], pause_s: float | None) -> None:
    assert retry_after_s(httpx.Headers(headers)) == pause_s


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors_are_tried_again_with_growing_pauses(tmdb: Any, reply: Any, status: int) -> None:
    tmdb.replies[1] = [reply(status)] * 3
    time = FakeTime()
    _, summary = fetch(tmdb, [1], time=time)
    assert (summary.found, summary.requests) == (1, 4)
    assert len(time.slept) == 3
    for attempt, pause_s in enumerate(time.slept):
        assert 0.5 * 2**attempt * FIRST_BACKOFF_S <= pause_s <= 2**attempt * FIRST_BACKOFF_S


def test_tries_are_bounded_and_the_reason_is_kept(tmdb: Any, reply: Any) -> None:
    tmdb.replies[1] = [reply(503)] * 100
    tmdb.replies[2] = [reply(429, headers={"Retry-After": "1"})] * 100
    results, summary = fetch(tmdb, [1, 2, 3])
    assert tmdb.counts == {1: gateway.TRIES, 2: gateway.TRIES, 3: 1}
    assert (results[1].status, results[1].http_status) == ("failed", 503)
    assert (results[2].status, results[2].http_status) == ("failed", 429)
    assert summary.failures == {"server error (HTTP 503)": 1, "too many requests (HTTP 429)": 1}


def test_cut_connections_are_tried_again(tmdb: Any, reply: Any) -> None:
    tmdb.replies[1] = [reply(cut=True)] * 2
    tmdb.replies[2] = [reply(cut=True)] * 100
    results, summary = fetch(tmdb, [1, 2])
    assert results[1].status == "found"
    assert results[2].status == "failed"
    assert results[2].http_status is None
    assert tmdb.counts == {1: 3, 2: gateway.TRIES}
    assert summary.failures == {"connection broke (RemoteProtocolError)": 1}


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_slow_answers_are_given_up_and_asked_for_again(tmdb: Any, reply: Any, way: str) -> None:
    tmdb.replies[1] = [reply(**{way: True})]
    results, summary = fetch(tmdb, [1], timeout_s=0.3)
    assert (results[1].status, summary.requests) == ("found", 2)


def test_nobody_listens() -> None:
    class Nowhere:
        url = "http://127.0.0.1:1/3"

    results: list[Result] = []
    with pytest.raises(TmdbError, match=r"the last 5\d ids all failed, .* \(ConnectError\)"):
        client(Nowhere).fetch(range(1, 10_000), results.append)
    # Workers that had an answer in hand when the first gave up still hand it over.
    assert gateway.FAILURES_IN_A_ROW <= len(results) < gateway.FAILURES_IN_A_ROW + 8
    assert {(r.status, r.error) for r in results} == {("failed", "connection broke (ConnectError)")}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>blocked</html>",
        b"[]",
        b'"text"',
        b"null",
        b'{"title": "\\ud800"}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_malformed_json_is_a_counted_failure(tmdb: Any, reply: Any, body: bytes) -> None:
    tmdb.replies[1] = [reply(body=body)]
    results, summary = fetch(tmdb, [1, 2])
    assert (results[1].status, results[1].error, results[1].http_status) == ("failed", "malformed JSON", 200)
    assert (summary.found, summary.failures) == (1, {"malformed JSON": 1})
    assert tmdb.counts == {1: 1, 2: 1}


def test_an_endless_answer_is_cut_off(tmdb: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "LARGEST_ANSWER_BYTES", 1_000)
    tmdb.replies[1] = [reply(body=b'{"title": "' + b"x" * 2_000_000 + b'"}')]
    results, _ = fetch(tmdb, [1])
    assert results[1].error == "malformed JSON"


def test_an_answer_about_another_film_is_refused(tmdb: Any, reply: Any) -> None:
    tmdb.replies[1] = [reply(body=b'{"id": 2, "title": "Other"}')]
    results, _ = fetch(tmdb, [1])
    assert (results[1].status, results[1].details) == ("failed", None)


def test_404_is_a_result_when_it_is_tmdbs_own(tmdb: Any, reply: Any) -> None:
    tmdb.replies[1] = [reply(404, b'{"success": false, "status_code": 34, "status_message": "gone"}')]
    tmdb.replies[2] = [reply(404, b"<html>no such page</html>")]
    results, _ = fetch(tmdb, [1, 2])
    assert (results[1].status, results[1].http_status) == ("missing", 404)
    assert results[2].status == "failed"
    assert tmdb.counts == {1: 1, 2: 1}


@pytest.mark.parametrize("status", [301, 400, 403, 418])
def test_other_answers_are_failures_at_once(tmdb: Any, reply: Any, status: int) -> None:
    tmdb.replies[1] = [reply(status, b"{}", headers={"Location": "http://127.0.0.1:1/"})]
    results, _ = fetch(tmdb, [1])
    assert (results[1].status, results[1].http_status) == ("failed", status)
    assert tmdb.counts == {1: 1}


def test_401_stops_everything(tmdb: Any) -> None:
    tmdb.key = "another"
    results: list[Result] = []
    with pytest.raises(TmdbKeyError, match="refused the API key"):
        client(tmdb).fetch(range(1, 10_000), results.append)
    assert results == []
    assert len(tmdb.requests) <= 8


@pytest.mark.parametrize(("key", "in_query"), [(V3_KEY, True), (V4_KEY, False), (f" {V4_KEY}\n", False)])
def test_the_key_goes_where_it_belongs(tmdb: Any, key: str, in_query: bool) -> None:
    tmdb.key = key.strip()
    fetch(tmdb, [1], key=key)
    _, query, headers = tmdb.requests[0]
    assert query.get("api_key") == ([key] if in_query else None)
    assert headers.get("Authorization") == (None if in_query else f"Bearer {key.strip()}")


@pytest.mark.parametrize("key", [V3_KEY, V4_KEY])
def test_the_key_shows_nowhere(
    tmdb: Any, reply: Any, key: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tmdb.replies[1] = [reply(500), reply(cut=True), reply(429, headers={"Retry-After": "1"})]
    tmdb.replies[2] = [reply(404, b"{}"), reply()]
    tmdb.replies[3] = [reply(body=b"{")]
    tmdb.replies[4] = [reply(cut=True)] * 100
    asking = client(tmdb, key=key)
    results: list[Result] = []
    summary = asking.fetch([1, 2, 3, 4, 5], results.append)
    texts = [repr(asking), str(vars(asking)), repr(results), repr(summary)]

    tmdb.key = "another"
    with pytest.raises(TmdbKeyError) as refused:
        asking.fetch([6], results.append)
    with pytest.raises(TmdbError) as gone:
        TmdbClient(key, base_url="http://127.0.0.1:1", sleep=FakeTime().sleep).fetch(range(1, 99), results.append)
    for error in (refused.value, gone.value):
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # this test knows the key
        locals_too = traceback.TracebackException.from_exception(error, capture_locals=True)
        texts += [repr(error), "".join(locals_too.format(chain=True))]
    with pytest.raises(TypeError):
        pickle.dumps(asking)

    out, err = capfd.readouterr()
    texts += [caplog.text, out, err]
    assert any("HTTP Request: GET http://127.0.0.1" in record.getMessage() for record in caplog.records)
    assert tmdb.requests, "the key did go out"
    leaks = [text[max(0, text.index(key) - 80) :][:200] for text in texts if key in text]
    assert leaks == []


@pytest.mark.parametrize("key", ["", "  ", "two words", "a\r\nX-Evil: 1", "schlüssel", None])
def test_an_unusable_key_is_refused_without_being_shown(key: Any) -> None:
    with pytest.raises(ValueError, match="TMDB key") as refused:
        TmdbClient(key)
    assert not (key or "").strip() or key not in str(refused.value)


@pytest.mark.parametrize("url", ["", "ftp://x", "api.themoviedb.org/3", "http://u:p@h/", "http://h/?a=b"])
def test_an_unusable_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        TmdbClient(V4_KEY, base_url=url)


@pytest.mark.parametrize("option", ["requests_per_second", "workers", "timeout_s"])
def test_unusable_numbers_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        TmdbClient(V4_KEY, **{option: 0})


@pytest.mark.parametrize(("rate", "workers"), [(40, 8), (5, 1), (3, 20)])
def test_no_second_sees_more_requests_than_the_rate(rate: float, workers: int) -> None:
    time = FakeTime()
    starts: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        starts.append(time.now)
        return httpx.Response(503 if len(starts) % 7 == 0 else 200, json={})

    summary = TmdbClient(
        V4_KEY,
        requests_per_second=rate,
        workers=workers,
        transport=httpx.MockTransport(answer),
        sleep=time.sleep,
        clock=time.clock,
    ).fetch(range(1, 200), lambda _: None)
    assert summary.found == 199
    starts.sort()
    for first in starts:
        assert sum(first <= start < first + 1 - 1e-6 for start in starts) <= rate


def test_requests_run_side_by_side() -> None:
    at_once: list[int] = []
    running = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running
        running += 1
        at_once.append(running)
        for _ in range(50):
            await asyncio.sleep(0)
        running -= 1
        return httpx.Response(200, json={})

    async def no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    TmdbClient(V4_KEY, workers=5, requests_per_second=1e9, transport=httpx.MockTransport(answer), sleep=no_sleep).fetch(
        range(1, 100), lambda _: None
    )
    assert max(at_once) == 5


def _alone() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "process_request_thread" not in thread.name}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError, SystemExit])
def test_an_exception_in_the_callers_hands_ends_it_and_leaves_no_thread(tmdb: Any, kind: Any) -> None:
    before = _alone()
    stored: list[Result] = []

    def store(result: Result) -> None:
        if len(stored) == 5:
            raise kind("disk full")
        stored.append(result)

    with pytest.raises(kind):
        client(tmdb).fetch(range(1, 1_000), store)
    assert len(stored) == 5
    assert len(tmdb.requests) <= 5 + 2 * 8
    assert _alone() == before


def test_a_second_run_asks_only_for_what_the_first_did_not_settle(tmdb: Any, reply: Any) -> None:
    tmdb.replies[4] = [reply(404, b'{"status_code": 34}')]
    tmdb.replies[5] = [reply(body=b"{")]
    films = pl.DataFrame({"tmdb_id": range(1, 11)})
    first, _ = fetch(tmdb, [1, 2, 3, 4, 5])
    rest = wanted(films, to_frame(first.values(), NOW))
    assert rest == [5, 6, 7, 8, 9, 10]
    client(tmdb).fetch(rest, lambda _: None)
    assert tmdb.counts == {**dict.fromkeys(range(1, 11), 1), 5: 2}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_even_in_a_long_pause(tmdb: Any, reply: Any) -> None:
    # A process that a shell started in the background is born deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tmdb.replies[2] = [reply(hang=True)]
    before = _alone()
    stored: list[int] = []

    def store(result: Result) -> None:
        stored.append(result.tmdb_id)
        signal.raise_signal(signal.SIGINT)
        stored.append(-1)

    with pytest.raises(KeyboardInterrupt):
        TmdbClient(V4_KEY, base_url=tmdb.url, workers=2).fetch([1, 2, 3], store)
    assert stored == [1, -1], "the batch in hand is finished first"
    assert _alone() == before


def test_inside_a_running_loop_it_says_so(tmdb: Any) -> None:
    async def outer() -> None:
        client(tmdb).fetch([1], print)

    with pytest.raises(RuntimeError, match="inside an event loop"):
        asyncio.run(outer())


# Reading

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KEYS = [*parse({}), "id", "overview", "runtime", "release_date", "spoken_languages", "production_countries"]
PEOPLE = st.lists(
    st.fixed_dictionaries({}, optional={"name": JSON, "job": st.just("Director") | JSON, "order": JSON}) | JSON,
    max_size=15,
)
HOSTILE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(KEYS, JSON),
        "credits": st.fixed_dictionaries({"cast": PEOPLE, "crew": PEOPLE}),
    },
)


@given(HOSTILE)
def test_hostile_json_gives_rows_that_keep_the_contract(details: dict[str, Any]) -> None:
    read = parse(details)
    assert list(read) == ["tmdb_id", *(column.name for column in TMDB_DETAILS)]
    frame = to_frame([Result(7, "found", 200, read)], NOW)
    assert RAW_TMDB_API__DETAILS.violations(frame) == []
    frame.write_ndjson()
    assert read["cast_members"] is None or len(read["cast_members"]) <= 10


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"runtime": 0}, "runtime_min", None),
        ({"runtime": True}, "runtime_min", None),
        ({"runtime": "101"}, "runtime_min", None),
        ({"runtime": 99.0}, "runtime_min", 99),
        ({"runtime": 10**400}, "runtime_min", None),
        ({"id": float("nan")}, "tmdb_id", None),
        ({"id": 2**70}, "tmdb_id", None),
        ({"release_date": ""}, "year", None),
        ({"release_date": "1066-10-14"}, "year", None),
        ({"release_date": "١٩٨٧-٠٦-٠٥"}, "year", None),
        ({"imdb_id": "tt12"}, "imdb_id", None),
        ({"imdb_id": "tt0000001\n"}, "imdb_id", "tt0000001"),
        ({"title": "   "}, "title", None),
        ({"title": "x" * 1_001}, "title", None),
        ({"title": "a\0b"}, "title", None),
        ({"title": "\ud800"}, "title", None),
        ({"genres": {}}, "genres", None),
        ({"genres": []}, "genres", []),
        ({"genres": [{"name": "Drama"}, {"name": "Drama"}, {"name": 3}, None]}, "genres", ["Drama"]),
        ({"spoken_languages": [{"iso_639_1": "english"}, {"iso_639_1": "en"}]}, "languages", ["en"]),
        ({"credits": None}, "directors", None),
        ({"credits": {"crew": []}}, "directors", []),
        ({"credits": {"crew": []}}, "cast_members", None),
        (
            {"credits": {"cast": [{"name": "Last"}, {"name": "First", "order": 0}]}},
            "cast_members",
            ["First", "Last"],
        ),
    ],
)
def test_what_parse_makes_of_odd_values(film: Any, change: dict[str, Any], field: str, value: Any) -> None:
    assert parse(film(5, **change))[field] == value


def test_to_frame_keeps_every_status_and_the_time_in_utc(film: Any) -> None:
    results = [
        Result(1, "failed", None, error="no answer in time"),
        Result(2, "missing", 404),
        Result(1, "found", 200, parse(json.loads(json.dumps(film(1))))),
    ]
    frame = to_frame(results, datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2))))
    assert frame.schema == RAW_TMDB_API__DETAILS.schema
    assert frame.select("tmdb_id", "status", "http_status", "title").rows() == [
        (1, "found", 200, "Film 1"),
        (2, "missing", 404, None),
    ]
    assert frame["fetched_at"].unique().to_list() == [NOW]
    assert to_frame([], NOW).schema == RAW_TMDB_API__DETAILS.schema


def test_wanted_is_what_is_neither_found_nor_missing() -> None:
    old, new = NOW - timedelta(days=400), NOW - timedelta(days=1)
    cached = pl.concat(
        [
            to_frame([Result(1, "found", 200), Result(2, "missing", 404), Result(3, "failed", 500)], new),
            to_frame([Result(4, "found", 200), Result(5, "missing", 404)], old),
        ]
    )
    missing = pl.DataFrame({"tmdb_id": [9, 1, 2, 3, None, 4, 5, 9, 0, -4, 6]}, schema={"tmdb_id": pl.Int64})
    assert wanted(missing, cached) == [9, 3, 6]
    assert wanted(missing, cached, stale_before=NOW - timedelta(days=365)) == [9, 3, 4, 5, 6]
    assert wanted(missing, cached, stale_before=(NOW - timedelta(days=365)).replace(tzinfo=UTC)) == [
        9,
        3,
        4,
        5,
        6,
    ]
    assert wanted(missing, RAW_TMDB_API__DETAILS.empty()) == [9, 1, 2, 3, 4, 5, 6]
    assert wanted(missing.clear(), cached) == []
