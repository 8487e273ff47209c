"""Load from Prometheus, by instant queries (https://prometheus.io/docs/prometheus/latest/querying/api/).

Values count as of when they were asked for: the server's clock is not ours. How long it goes on returning a series that
it no longer scrapes is its own business, and the query's.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Iterator

import httpx

from gtm.decide.load import together
from gtm.model.errors import PeerError
from gtm.model.load import LoadMetric, LoadQuery, LoadSample, PrometheusSource
from gtm.observe.load.reading import Reading
from gtm.observe.load.subjects import Subjects

BODY_MAX_BYTES = 8 * 1024 * 1024
SAID_MAX = 200  # characters of a server's own words that are shown

Series = tuple[dict[str, object], float]


class Prometheus:
    """A Prometheus server, asked all of its queries at each reading over connections that are kept."""

    def __init__(self, source: PrometheusSource, subjects: Subjects, *, timeout_s: float) -> None:
        """Ask this server; nothing is sent yet."""
        self.name = source.url
        self._queries = source.queries
        self._subjects = subjects
        self._timeout_s = timeout_s
        self._url = f"{source.url.rstrip('/')}/api/v1/query"
        # No proxies and credentials from the environment: what a node decides on is said by its deployment alone.
        self._client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False)  # noqa: S113 - see read

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self) -> Reading:
        """What all queries say, `timeout_s` for each. Raises PeerError if none of them was answered."""
        samples: list[LoadSample] = []
        ignored = 0
        problems = []
        for query in self._queries:
            try:
                found, skipped = self._sort(query, await self._ask(query))
            except PeerError as error:
                problems.append(str(error).removeprefix(f"{self.name}: "))
                continue
            samples.extend(found)
            ignored += skipped
        problem = "; ".join(dict.fromkeys(problems)) or None
        if problem is not None and len(problems) == len(self._queries):
            raise PeerError(problem, peer=self.name)
        return Reading(samples=tuple(samples), ignored=ignored, problem=problem)

    async def _ask(self, query: LoadQuery) -> list[Series]:
        """The series of a query's answer. Raises PeerError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await self._get(query.query)
        except TimeoutError:
            raise PeerError(f"no answer within {self._timeout_s:g} s", peer=self.name) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise PeerError(str(error) or type(error).__name__, peer=self.name) from error
        try:
            return list(_series(status, body))
        except _Odd as odd:
            raise PeerError(f"{query.query}: {odd}", peer=self.name) from None

    async def _get(self, query: str) -> tuple[int, bytes]:
        body = bytearray()
        async with self._client.stream("GET", self._url, params={"query": query}) as response:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > BODY_MAX_BYTES:
                    raise PeerError(f"answered more than {BODY_MAX_BYTES} bytes", peer=self.name)
            return response.status_code, bytes(body)

    def _sort(self, query: LoadQuery, series: Iterable[Series]) -> tuple[list[LoadSample], int]:
        """A sample for each subject, and how many series are of none or of no number."""
        values: dict[str, list[float]] = {}
        ignored = 0
        for labels, value in series:
            # A result without labels, such as sum(...) gives, is of what the query's label itself names.
            label = labels.get(query.label) if labels else query.label
            subject = self._subjects.find(label) if isinstance(label, str) else None
            if subject is None or not math.isfinite(value) or value < 0:
                ignored += 1
            else:
                values.setdefault(subject, []).append(value)
        now_s = time.time()
        return [_sample(subject, query.metric, some, now_s) for subject, some in values.items()], ignored


class _Odd(Exception):
    """An answer that is not one, in words."""


def _sample(subject: str, metric: LoadMetric, values: list[float], now_s: float) -> LoadSample:
    return LoadSample(subject=subject, metric=metric, value=together(metric, values), at_s=now_s)


def _series(status: int, body: bytes) -> Iterator[Series]:
    """The labels and value of each series in an answer. Raises _Odd."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _Odd(f"the answer (HTTP status {status}) is not JSON") from None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        error = answer.get("error") if isinstance(answer, dict) else None
        said = f": {' '.join(error.split())[:SAID_MAX]}" if isinstance(error, str) else ""
        raise _Odd(f"HTTP status {status}{said}")
    match answer.get("data"):
        case {"resultType": "scalar", "result": list() as point}:
            yield {}, _value(point)
        case {"resultType": "vector", "result": list() as result}:
            for each in result:
                match each:
                    case {"metric": dict() as labels, "value": list() as point}:
                        yield labels, _value(point)
                    case {"metric": dict() as labels, "histogram": _}:
                        yield labels, math.nan
                    case _:
                        raise _Odd("a series of the answer has no labels or no value")
        case {"resultType": str() as kind}:
            raise _Odd(f"the result is a {kind[:40]} (allowed: an instant vector or a scalar)")
        case _:
            raise _Odd("the answer has no result")


def _value(point: list[object]) -> float:
    """The value of [time, "value"]; "NaN" and "+Inf" are values too."""
    match point:
        case [int() | float(), str() as text]:
            try:
                return float(text)
            except ValueError:
                pass
    raise _Odd("a value of the answer is not [time, number]")
