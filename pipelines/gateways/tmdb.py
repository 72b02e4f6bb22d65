"""Gateway to TMDB's API: asks for the details of films by id, and puts the answers into one shape.

Belongs here: the conversation with the service (rate, retries, secrecy of the key), the reading of its
answers, and the choice of what is still to be asked. Does not belong here: when to ask, where answers are
stored, what the clock says.

Source: The Movie Database API v3, `GET /movie/{movie_id}?append_to_response=credits`; use is under TMDB's API
terms.
"""

from __future__ import annotations

import asyncio
import operator
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson
import polars as pl

from pipelines.gateways.pacing import TokenBucket, backoff_s, retry_after_s
from pipelines.gateways.secret import Secret
from warehouse.contracts import Column
from warehouse.tables.enrichment import RAW_TMDB_API__DETAILS, TMDB_DETAILS

TRIES = 6
# Details with full credits are some 20-500 kB.
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
# That many ids failing one after the other mean that the service is gone, not that the ids are bad.
FAILURES_IN_A_ROW = 50

CAST_MEMBERS = 10
LONGEST_NAME = 1_000
LONGEST_TEXT = 50_000
LONGEST_LIST = 1_000

Status = Literal["found", "missing", "failed"]

_COLUMNS: dict[str, Column] = {column.name: column for column in TMDB_DETAILS}
_LARGEST_ID = 2**63 - 1


class TmdbError(RuntimeError):
    """TMDB cannot be asked any further; the message says why and never holds the key."""


class TmdbKeyError(TmdbError):
    """TMDB refused the key."""


@dataclass(frozen=True)
class Result:
    """What came of asking for one id. `details` has the fields of `parse` when the film was found."""

    tmdb_id: int
    status: Status
    http_status: int | None = None
    details: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Summary:
    """What came of one `fetch`: `asked` ids = `found` + `missing` + `failed`, with `requests` sent in all.

    `failures` counts the failed ids by reason.
    """

    asked: int
    found: int
    missing: int
    failed: int
    requests: int
    failures: Mapping[str, int] = field(default_factory=dict)


def _sign(key: Secret, request: httpx.Request) -> httpx.Request:
    """Return `request` with the key: a v3 key as query parameter, anything else as v4 bearer token."""
    url, headers = request.url, request.headers.copy()
    if re.fullmatch(r"[0-9a-fA-F]{32}", key.reveal()):
        url = url.copy_add_param("api_key", key.reveal())
    else:
        headers["Authorization"] = f"Bearer {key.reveal()}"
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)


class _SigningTransport(httpx.AsyncBaseTransport):
    """Adds the key below httpx's client, whose log lines and exceptions thus only know the unsigned URL."""

    def __init__(self, inner: httpx.AsyncBaseTransport, key: Secret) -> None:
        self._inner = inner
        self._key = key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(_sign(self._key, request))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _network(base_url: str, connections: int) -> httpx.AsyncHTTPTransport:
    """The network, through a proxy where the system names one (httpx looks only where it gets none)."""
    url = httpx.URL(base_url)
    proxy = None if proxy_bypass(url.host) else getproxies().get(url.scheme)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncHTTPTransport(limits=limits, proxy=proxy)


@dataclass(frozen=True)
class _Answer:
    # A service may echo the key it was given, so only the status shows in a traceback.
    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


class _TryAgain(Exception):
    """This try brought nothing, the next may. `pause_s` is what the service asked for."""

    def __init__(self, reason: str, http_status: int | None = None, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.pause_s = pause_s


class TmdbClient:
    """Asks TMDB for films, many at a time, at most `requests_per_second`.

    `api_key` is a v4 bearer token or a v3 key (32 hexadecimal digits). `timeout_s` bounds one request as a
    whole, however slowly the answer trickles. `transport`, `sleep` and `clock` (seconds, any origin) stand in
    for the network and for time. Connections live as long as one `fetch`; there is nothing to close.

    Raises ValueError for an unusable key, URL or number.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = "https://api.themoviedb.org/3",
        requests_per_second: float = 40,
        workers: int = 8,
        timeout_s: float = 20,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if requests_per_second <= 0 or workers < 1 or timeout_s <= 0:
            raise ValueError("requests_per_second, workers and timeout_s must be above zero")
        if not re.match(r"https?://[^/@?#]+", base_url) or re.search(r"[@?#]", base_url):
            raise ValueError("base_url must be http(s)://host[:port]/path, without user, query or fragment")
        self._key = Secret(api_key, "TMDB")
        self.base_url = base_url.rstrip("/")
        self.requests_per_second = requests_per_second
        self.workers = workers
        self.timeout_s = timeout_s
        self._transport = transport
        self._sleep = sleep
        self._clock = clock

    def __repr__(self) -> str:
        return (
            f"TmdbClient({self.base_url!r}, requests_per_second={self.requests_per_second:g}, workers={self.workers})"
        )

    def fetch(self, ids: Iterable[int], on_result: Callable[[Result], None]) -> Summary:
        """Ask for every id once and hand each result to `on_result` as it comes, in the order of arrival.

        `on_result` is called in the calling thread, one call at a time; what it stored stays stored whatever
        happens later, so a run that was ended resumes with `wanted`. While it works no answer is read: it
        should take seconds at most. An exception it raises ends the fetch and comes out of it, and so does
        KeyboardInterrupt; no thread, task or connection is left.

        429, 5xx, timeouts and broken connections are tried again, `TRIES` times in all. Other answers that
        are not a film make a `failed` result at once. `missing` is a 404 with TMDB's JSON error object: a 404
        from something that is not TMDB (a wrong base_url, a proxy) is `failed`, as it would be remembered for
        good.

        Raises TmdbKeyError on a 401, TmdbError when `FAILURES_IN_A_ROW` ids failed one after the other,
        ValueError for an id that is not a positive integer, and RuntimeError inside an event loop.
        """
        wanted_ids = list(dict.fromkeys(_checked_id(each) for each in ids))
        if not wanted_ids:
            return Summary(asked=0, found=0, missing=0, failed=0, requests=0)
        if _in_event_loop():
            raise RuntimeError("fetch blocks until all is asked: it cannot be called inside an event loop")
        return asyncio.run(_Fetch(self, on_result).run(wanted_ids))


class _Fetch:
    """One `fetch` under way: its workers share an iterator of ids, a token bucket and the counters."""

    def __init__(self, client: TmdbClient, on_result: Callable[[Result], None]) -> None:
        self._client = client
        self._on_result = on_result
        self._bucket = TokenBucket(client.requests_per_second, client._clock, client._sleep)
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._requests = 0
        self._failed_in_a_row = 0

    async def run(self, ids: Sequence[int]) -> Summary:
        client = self._client
        transport = client._transport or _network(client.base_url, client.workers)
        async with httpx.AsyncClient(
            transport=_SigningTransport(transport, client._key),
            timeout=client.timeout_s,
            headers={"Accept": "application/json", "User-Agent": "marquee"},
        ) as http:
            queue = iter(ids)
            tasks = [asyncio.create_task(self._work(http, queue)) for _ in range(min(client.workers, len(ids)))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
        return Summary(
            asked=len(ids),
            found=self._counts["found"],
            missing=self._counts["missing"],
            failed=self._counts["failed"],
            requests=self._requests,
            failures=dict(sorted(self._failures.items())),
        )

    async def _work(self, http: httpx.AsyncClient, queue: Iterator[int]) -> None:
        for tmdb_id in queue:
            result = await self._ask(http, tmdb_id)
            self._counts[result.status] += 1
            self._on_result(result)
            if result.status != "failed":
                self._failed_in_a_row = 0
                continue
            self._failures[result.error or ""] += 1
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                raise TmdbError(
                    f"{self._client.base_url} gives no usable answers: the last {self._failed_in_a_row} ids "
                    f"all failed, lately with: {result.error}"
                )

    async def _ask(self, http: httpx.AsyncClient, tmdb_id: int) -> Result:
        for attempt in range(TRIES):
            await self._bucket.take()
            self._requests += 1
            try:
                return _result(tmdb_id, await self._get(http, tmdb_id))
            except _TryAgain as trouble:
                last = trouble
            if attempt + 1 == TRIES:
                break
            if last.pause_s is not None:
                self._bucket.pause(last.pause_s)
            else:
                await self._client._sleep(backoff_s(attempt))
        return Result(tmdb_id, "failed", http_status=last.http_status, error=last.reason)

    async def _get(self, http: httpx.AsyncClient, tmdb_id: int) -> _Answer:
        # httpx bounds each read, not the whole answer: a trickle could hold a worker for ever.
        try:
            async with asyncio.timeout(self._client.timeout_s):
                url = f"{self._client.base_url}/movie/{tmdb_id}"
                params = {"append_to_response": "credits"}
                async with http.stream("GET", url, params=params) as response:
                    return _Answer(response.status_code, response.headers, await _body(response))
        except (TimeoutError, httpx.TimeoutException):
            raise _TryAgain("no answer in time") from None
        except httpx.RequestError as error:
            raise _TryAgain(f"connection broke ({type(error).__name__})") from None


async def _body(response: httpx.Response) -> bytes:
    """Read an answer; one over the limit comes back cut, which makes it unreadable as JSON."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER_BYTES:
            break
    return b"".join(chunks)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _checked_id(value: object) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if not 0 < number <= _LARGEST_ID:
        raise ValueError(f"{value!r} is no TMDB id: a positive integer is needed")
    return number


def _result(tmdb_id: int, answer: _Answer) -> Result:
    """Judge an answer. Raises _TryAgain or TmdbKeyError; the service's own words go into no error."""
    status = answer.status
    if status == 401:
        raise TmdbKeyError("TMDB refused the API key (HTTP 401); check that it is whole and still valid")
    if status == 429:
        raise _TryAgain("too many requests (HTTP 429)", status, retry_after_s(answer.headers))
    if status >= 500:
        raise _TryAgain(f"server error (HTTP {status})", status, retry_after_s(answer.headers))
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = None
    if status == 404 and isinstance(body, dict) and "status_code" in body:
        return Result(tmdb_id, "missing", http_status=status)
    if status != 200:
        return Result(tmdb_id, "failed", http_status=status, error=f"unexpected answer (HTTP {status})")
    if not isinstance(body, dict):
        return Result(tmdb_id, "failed", http_status=status, error="malformed JSON")
    details = parse(body)
    if details["tmdb_id"] not in (None, tmdb_id):
        return Result(tmdb_id, "failed", http_status=status, error="answer about another film")
    return Result(tmdb_id, "found", http_status=status, details=details)


def parse(details: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields of RAW_TMDB_API__DETAILS out of TMDB's JSON: `tmdb_id` and those of TMDB_DETAILS.

    Whatever is absent, of the wrong type, out of range or absurdly long becomes null (single entries of a
    list are left out); nothing raises. A list that TMDB states as empty stays empty.
    """
    credit = details.get("credits")
    people = credit if isinstance(credit, dict) else {}
    return {
        "tmdb_id": _number(details.get("id"), 1, _LARGEST_ID),
        "title": _text(details.get("title"), LONGEST_NAME),
        "original_title": _text(details.get("original_title"), LONGEST_NAME),
        "directors": _strings(_directing(_objects(people.get("crew"))), "name"),
        "cast_members": _strings(_billed(_objects(people.get("cast"))), "name", at_most=CAST_MEMBERS),
        "genres": _strings(_objects(details.get("genres")), "name"),
        "plot": _text(details.get("overview"), LONGEST_TEXT),
        "runtime_min": _in_contract(details.get("runtime"), "runtime_min"),
        "languages": _strings(_objects(details.get("spoken_languages")), "iso_639_1", "[a-z]{2}"),
        "countries": _strings(_objects(details.get("production_countries")), "iso_3166_1", "[A-Z]{2}"),
        "imdb_id": _imdb_id(details.get("imdb_id")),
        "year": _year(details.get("release_date")),
    }


def _text(value: object, longest: int) -> str | None:
    if not isinstance(value, str) or len(value) > longest:
        return None
    # NUL bytes and lone surrogates are valid in JSON but not in every store; text that holds them was damaged
    # before.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        return None
    return value.strip() or None


def _number(value: object, lowest: float, highest: float) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        return None
    return value


def _in_contract(value: object, name: str) -> int | None:
    """A number inside the limits that the contract sets for column `name`."""
    column = _COLUMNS[name]
    assert column.minimum is not None and column.maximum is not None
    return _number(value, column.minimum, column.maximum)


def _objects(value: object) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    return [each for each in value[:LONGEST_LIST] if isinstance(each, dict)]


def _directing(crew: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if crew is None else [person for person in crew if person.get("job") == "Director"]


def _billed(cast: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    def place(person: dict[str, Any]) -> int:
        order = _number(person.get("order"), 0, LONGEST_LIST)
        return LONGEST_LIST + 1 if order is None else order

    return None if cast is None else sorted(cast, key=place)


def _strings(
    objects: list[dict[str, Any]] | None, key: str, pattern: str = ".+", at_most: int = LONGEST_LIST
) -> list[str] | None:
    """The distinct texts under `key`, in order, that match `pattern` as a whole."""
    if objects is None:
        return None
    texts = (_text(each.get(key), LONGEST_NAME) for each in objects)
    return list(dict.fromkeys(text for text in texts if text and re.fullmatch(pattern, text, re.DOTALL)))[:at_most]


def _imdb_id(value: object) -> str | None:
    pattern = _COLUMNS["imdb_id"].pattern
    text = _text(value, LONGEST_NAME)
    return text if text and pattern and re.fullmatch(pattern, text, re.ASCII) else None


def _year(value: object) -> int | None:
    text = _text(value, LONGEST_NAME)
    found = re.fullmatch(r"(\d{4})-\d{2}-\d{2}", text, re.ASCII) if text else None
    return _in_contract(int(found[1]), "year") if found else None


def to_frame(results: Iterable[Result], fetched_at: datetime) -> pl.DataFrame:
    """Put results into the shape of RAW_TMDB_API__DETAILS; of several with one id the last stays.

    `fetched_at` is UTC, or carries its own time zone. Raises ContractViolation when a result breaks the
    contract.
    """
    rows = {
        result.tmdb_id: {
            **{name: (result.details or {}).get(name) for name in _COLUMNS},
            "tmdb_id": result.tmdb_id,
            "status": result.status,
            "fetched_at": _utc(fetched_at),
            "http_status": result.http_status,
            "error": result.error,
        }
        for result in results
    }
    frame = pl.DataFrame(list(rows.values()), schema=RAW_TMDB_API__DETAILS.schema)
    return RAW_TMDB_API__DETAILS.check(frame)


def wanted(missing: pl.DataFrame, cached: pl.DataFrame, stale_before: datetime | None = None) -> list[int]:
    """Ids of `missing` (column `tmdb_id`, Int64, nulls ignored) that are still to be asked for, in their
    order.

    Whatever `cached` (RAW_TMDB_API__DETAILS) holds as found or missing is settled, unless it was fetched
    before `stale_before` (UTC, or with its own time zone); failed ids are asked for again.
    """
    settled = cached.filter(pl.col("status").is_in(["found", "missing"]))
    if stale_before is not None:
        settled = settled.filter(pl.col("fetched_at") >= _utc(stale_before))
    return (
        missing.select(pl.col("tmdb_id").cast(pl.Int64))
        .filter(pl.col("tmdb_id") > 0)
        .unique(maintain_order=True)
        .join(settled.select("tmdb_id"), on="tmdb_id", how="anti", maintain_order="left")["tmdb_id"]
        .to_list()
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
