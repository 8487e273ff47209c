"""An etcd cluster, by any of its endpoints: each call with a deadline, each fault a StoreError in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import httpx

from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError
from gtm.store.etcd.access import password_of, tls_of
from gtm.store.etcd.fault import Compacted, LeaseLost, TokenRefused, TryNext, Unconfirmed, refusal, unspoken, words
from gtm.wire import etcd, etcd_answer
from gtm.wire.error import WireError

TRY_S = 0.4
PASSWORD_TRIES = 4  # etcd makes passwords costly to check, some 0.1 s of a core
ROUND_S = 0.1  # after all endpoints failed once: an election takes 1.2 s, and etcd must not be hammered meanwhile
TOTAL_S = 2.5
OCTETS_PER_S = 2_000_000.0  # a try of something large has longer
LINE_MAX_BYTES = 64 * 1024 * 1024
# Alerts of TLS that come after the handshake, as TLS 1.3 has them, are let through by httpx as they are.
NETWORK = (httpx.HTTPError, httpx.StreamError, OSError)
_CHANGES = (etcd.Put, etcd.Delete, etcd.Txn)

T = TypeVar("T")


class Client:
    """One client of a cluster. Its endpoints are tried in turn; the one that answered last is tried first.

    A try has a few hundred milliseconds, a call `total_s` for all its tries. Every method raises StoreError: Compacted,
    LeaseLost, or Unconfirmed for a change that may have been made though no answer came.
    """

    def __init__(self, cluster: Cluster, folder: Path, *, try_s: float = TRY_S) -> None:
        """Read the files that TLS takes; connect to nothing yet. Raises StoreError."""
        self.cluster = cluster
        self._folder = folder
        self._try_s = try_s
        self._turn = 0
        self._token: str | None = None
        secure = cluster.endpoints[0].startswith("https:")
        self._http = httpx.AsyncClient(
            verify=tls_of(cluster, folder) if secure else False,
            timeout=None,  # noqa: S113 - asyncio.timeout bounds every await
            trust_env=False,  # a proxy meant for other things would be a new way to lose etcd
            follow_redirects=False,
            headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def range(self, request: etcd.Range, *, total_s: float = TOTAL_S) -> etcd_answer.Found:
        """The keys of a range, as a majority of the cluster knows them."""
        return self._read(etcd_answer.decode_found, await self._call(request, total_s))

    async def put(self, request: etcd.Put, *, total_s: float = TOTAL_S) -> int:
        """Set a key; the revision at which it is."""
        return self._read(etcd_answer.decode_revision, await self._call(request, total_s))

    async def txn(self, request: etcd.Txn, *, total_s: float = TOTAL_S) -> etcd_answer.Decided:
        """Compare and change at once."""
        return self._read(etcd_answer.decode_decided, await self._call(request, total_s))

    async def grant(self, ttl_s: int) -> etcd_answer.Leased:
        """A new lease."""
        return self._read(etcd_answer.decode_leased, await self._call(etcd.Grant(ttl_s=ttl_s), TOTAL_S))

    async def keep_alive(self, lease: int) -> int:
        """The seconds that a lease lasts from now. Raises LeaseLost."""
        found = self._read(etcd_answer.decode_leased, await self._call(etcd.KeepAlive(lease=lease), TOTAL_S))
        if found.ttl_s <= 0:
            raise LeaseLost("the lease has ended")
        return found.ttl_s

    async def revoke(self, lease: int, *, total_s: float) -> None:
        """End a lease."""
        await self._call(etcd.Revoke(lease=lease), total_s)

    async def watch(self, request: etcd.Watch, *, idle_s: float) -> AsyncGenerator[etcd_answer.Batch, None]:
        """Batches of changes from one endpoint, the first of them empty; the next watch goes to another one.

        It ends with StoreError where the endpoint goes away, loses the majority, or says nothing for `idle_s`, and
        with Compacted where `start_revision` is no more, or is ahead of what the store has.
        """
        endpoint = self._endpoint()
        try:
            async with aclosing(self._lines(endpoint, request, idle_s)) as lines:
                async for line in lines:
                    batch = self._batch(line)
                    if batch.created and batch.revision + 1 < request.start_revision:
                        raise Compacted("the store has gone back")
                    yield batch
        except TryNext as fault:
            self._move_on(endpoint)
            raise StoreError(f"etcd: {endpoint}: {fault}") from fault
        except TokenRefused:
            self._token = None
            raise StoreError(f"etcd: {endpoint}: the token of {self.cluster.user} has ended") from None

    def _batch(self, line: bytes) -> etcd_answer.Batch:
        found = self._read(etcd_answer.decode_batch, line)
        if isinstance(found, etcd_answer.Failure):
            raise refusal(found, user=self.cluster.user)
        if found.compact_revision:
            raise Compacted("what was to be watched from is compacted away")
        if found.canceled:
            raise refusal(
                etcd_answer.Failure(code=0, message=found.reason or "it ended the watch"), user=self.cluster.user
            )
        return found

    async def _lines(self, endpoint: str, request: etcd.Watch, idle_s: float) -> AsyncGenerator[bytes, None]:
        """The lines of a watch's answer. Raises TryNext."""
        headers = await self._headers(endpoint)
        try:
            async with asyncio.timeout(self._try_s * 2):
                built = self._http.build_request(
                    "POST",
                    endpoint + etcd.path(request),
                    content=etcd.encode(request),
                    # Else an endpoint without a majority would go on watching what cannot change.
                    headers={**headers, "Grpc-Metadata-hasleader": "true"},
                )
                response = await self._http.send(built, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    async with asyncio.timeout(self._try_s):
                        raise self._refused(response.status_code, await response.aread())
                chunks = response.aiter_raw()
                rest = b""
                while True:
                    async with asyncio.timeout(idle_s):
                        rest += await anext(chunks)
                    *lines, rest = rest.split(b"\n")
                    for line in lines:
                        yield line
                    if len(rest) > LINE_MAX_BYTES:
                        raise TryNext("a line without end", maybe=False)
            finally:
                await response.aclose()
        except StopAsyncIteration:
            raise TryNext("it ended the watch", maybe=False) from None
        except TimeoutError:
            raise TryNext("it says nothing", maybe=False) from None
        except NETWORK as error:
            raise TryNext(words(error), maybe=False) from error

    async def _call(self, request: etcd.Request, total_s: float) -> bytes:
        """The body of the first good answer, within `total_s`."""
        faults: dict[str, str] = {}
        maybe = False
        tries = 0
        try:
            async with asyncio.timeout(total_s):
                while True:
                    endpoint = self._endpoint()
                    try:
                        return await self._try(endpoint, request)
                    except TryNext as fault:
                        faults[endpoint] = str(fault)
                        maybe = maybe or fault.maybe
                    except TokenRefused as fault:
                        faults[endpoint] = str(fault)
                        self._token = None
                    self._move_on(endpoint)
                    tries += 1
                    if tries % len(self.cluster.endpoints) == 0:
                        await asyncio.sleep(ROUND_S)
        except TimeoutError:
            said = "; ".join(f"{endpoint}: {fault}" for endpoint, fault in faults.items())
            message = f"etcd does not answer within {total_s:.2g} s: {said or 'no answer'}"
            if isinstance(request, _CHANGES) and (maybe or not faults):
                raise Unconfirmed(message) from None
            raise StoreError(message) from None

    async def _try(self, endpoint: str, request: etcd.Request) -> bytes:
        """The body of a good answer of one endpoint. Raises TryNext, TokenRefused, or a StoreError that is final."""
        body = etcd.encode(request)
        asks_token = isinstance(request, etcd.Authenticate)
        headers = {} if asks_token else await self._headers(endpoint)
        try_s = self._try_s * (PASSWORD_TRIES if asks_token else 1) + len(body) / OCTETS_PER_S
        try:
            async with asyncio.timeout(try_s):
                response = await self._http.post(endpoint + etcd.path(request), content=body, headers=headers)
        except TimeoutError:
            raise TryNext(f"no answer within {try_s:.2g} s", maybe=True) from None
        except httpx.ConnectError as error:
            raise TryNext(words(error), maybe=False) from error
        except NETWORK as error:
            raise TryNext(words(error), maybe=True) from error
        if response.status_code != httpx.codes.OK:
            raise self._refused(response.status_code, response.content)
        return response.content

    def _refused(self, status: int, body: bytes) -> StoreError:
        try:
            failure = etcd_answer.decode_failure(body)
        except WireError:
            return unspoken(status, body)
        fault = refusal(failure, user=self.cluster.user)
        return fault if type(fault) is not StoreError else StoreError(f"etcd: {fault}")

    async def _headers(self, endpoint: str) -> dict[str, str]:
        """The token of our user, asked for when there is none."""
        if self.cluster.user is None:
            return {}
        if self._token is None:
            password = password_of(self.cluster, self._folder)
            body = await self._try(endpoint, etcd.Authenticate(name=self.cluster.user, password=password))
            self._token = self._read(etcd_answer.decode_authenticated, body).token
        return {"Authorization": self._token}

    def _endpoint(self) -> str:
        return self.cluster.endpoints[self._turn % len(self.cluster.endpoints)]

    def _move_on(self, endpoint: str) -> None:
        """Try another endpoint next, unless somebody has moved on already."""
        if self._endpoint() == endpoint:
            self._turn += 1

    def _read(self, decode: Callable[[bytes], T], body: bytes) -> T:
        try:
            return decode(body)
        except WireError as error:
            raise StoreError(f"etcd: an answer {error}") from error
