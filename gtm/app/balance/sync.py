"""State sync of an instance: its flows to its peers and theirs into its table, over UDP; and whether it is ready.

One socket, one ring buffer and one timer of the running loop; nothing here waits for anything.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

import numpy as np

from gtm.decide.sync.gate import Gate
from gtm.decide.sync.link import PAGE_BYTES, Link
from gtm.model.address import Endpoint
from gtm.model.balance import SyncSettings
from gtm.model.sync import Page, Section
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.events import Events
from gtm.publish.dataplane.flows import Flows, Words
from gtm.publish.dataplane.inheritance import Change, Inheritance, inheritances, words_of
from gtm.publish.dataplane.numbering import Numbering, Translation
from gtm.wire import sync as wire

BUFFER_BYTES = 4 << 20  # asked for; a window of pages of one peer fits the usual 208 KiB
DATAGRAMS_MAX = 512  # read in one go, before the loop has its turn again
RENEW_S = 5.0  # between bulk transfers for events that were lost


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """A peer as it is seen: `heard_s` ago (None: never), `complete` once a bulk transfer of it came in full."""

    node: str
    established: bool
    compatible: bool
    ready: bool
    complete: bool
    heard_s: float | None
    sessions: int
    waiting: int
    resent: int
    repeated: int
    stale: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """State sync as a whole; `refused` are datagrams that were dropped, by reason, `lost` events that nobody read."""

    ready: bool
    waits_for: tuple[str, ...]
    peers: tuple[PeerStatus, ...]
    learnt: int
    told: int
    lost: int
    unsent: int
    refused: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class _Peer:
    node: str
    to: tuple[str, int]
    key: bytes
    link: Link
    translation: Translation


class Sync:
    """State sync with the `peers`; begins with `run`.

    `bound` is a socket of `bind`, and is closed at the end. `table` is what flows mean (`meaning`), `numbers` those of
    backends by SERVICE/NAME, `lost` how many events the programs could not tell so far. `opened`: the instance was
    ready before, and the tables are those of then. `synced` is called once, when it becomes ready. `changes` are those
    of the services' tables now; `inherit` gets the slots that a peer has in transition.
    """

    def __init__(
        self,
        settings: SyncSettings,
        *,
        bound: socket.socket,
        node: str,
        region: str,
        peers: Mapping[str, Endpoint],
        key: bytes,
        table: int,
        flows: Flows,
        events: Events | None,
        numbers: Mapping[str, int],
        lost: Callable[[], int] = lambda: 0,
        opened: bool = False,
        synced: Callable[[], None] = lambda: None,
        changes: Callable[[], Iterable[Change]] = tuple,
        inherit: Callable[[Inheritance], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._flows, self._events, self._clock = settings, flows, events, clock
        self._count_lost = lost
        self._changes, self._inherit = changes, inherit
        self._call_synced: Callable[[], None] | None = synced
        self._numbering = Numbering(numbers)
        self._pop, own = wire.digest32(region), wire.digest32(node)
        self._peers: dict[int, _Peer] = {}
        self._keys: dict[int, bytes] = {}
        for name, endpoint in peers.items():
            other = wire.digest32(name)
            self._keys[other] = wire.derive(key, pop=self._pop, sender=other, receiver=own)
            self._peers[other] = _Peer(
                node=name,
                to=(str(endpoint.address), endpoint.port),
                key=wire.derive(key, pop=self._pop, sender=own, receiver=other),
                link=Link(own=own, table=table, nonces=_nonces()),
                translation=Translation(self._numbering),
            )
        self._links = {peer.node: peer.link for peer in self._peers.values()}
        self._gate = Gate(started_s=clock(), ready_s=settings.ready_s, opened=opened)
        self._refused: Counter[str] = Counter()
        self._learnt = self._told = self._unsent = 0
        self._lost = self._lost_before = lost()
        self._renewed_s = float("-inf")
        self._asked: set[str] = set()
        self._socket: socket.socket | None = bound
        self._timer: asyncio.TimerHandle | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether this instance may attract traffic, for all that sync knows."""
        return not self._gate.waits_for(self._links, self._clock())

    def why_not(self) -> str | None:
        """Why it is not ready; None if it is. For gtm.app.balance.ready."""
        waiting = self._gate.waits_for(self._links, self._clock())
        if not waiting:
            return None
        forged = self._refused[wire.Refusal.FORGED]
        hint = f"; {forged} datagrams were refused: has the other one the same secret?" if forged else ""
        return f"flows of {', '.join(waiting)} are still to come{hint}"

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """The numbers of backends have changed; peers are told, and asked for what could not be read without them."""
        self._numbering = Numbering(numbers)
        words = self._numbering.words().tobytes()
        for peer in self._peers.values():
            peer.translation.renumber(self._numbering)
            peer.link.tell(Section.NAMES, words)
            if peer.translation.unknown:
                peer.translation.unknown = 0
                peer.link.ask()
        if self._socket is not None:
            self._push()

    def status(self) -> SyncStatus:
        """What `gtm balance` shows."""
        now_s = self._clock()
        waits_for = self._gate.waits_for(self._links, now_s)
        return SyncStatus(
            ready=not waits_for,
            waits_for=waits_for,
            peers=tuple(_status(peer, now_s) for peer in self._peers.values()),
            learnt=self._learnt,
            told=self._told,
            lost=self._count_lost() - self._lost_before,
            unsent=self._unsent,
            refused=dict(self._refused),
        )

    async def run(self) -> None:
        """Syncs until it is cancelled; then the socket is closed."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        try:
            loop.add_reader(self._socket, self._guarded, self._receive)
            if self._events is not None:
                self._events.begin()  # what was before, a bulk transfer tells
                loop.add_reader(self._events.fd, self._guarded, self._gather)
            self._guarded(self._push)
            await self._failed
        finally:
            loop.remove_reader(self._socket)
            if self._events is not None:
                loop.remove_reader(self._events.fd)
                self._events.end()
            if self._timer is not None:
                self._timer.cancel()
            self._socket.close()
            self._socket = None

    def _guarded(self, step: Callable[[], None]) -> None:
        """Calls `step` from the loop; what it raises ends `run`."""
        assert self._failed is not None
        if self._failed.done():
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - it is raised in `run`
            self._failed.set_exception(error)

    # What comes in.

    def _receive(self) -> None:
        assert self._socket is not None
        now_s = self._clock()
        brought: list[tuple[_Peer, Page]] = []
        for _ in range(DATAGRAMS_MAX):
            try:
                octets = self._socket.recv(wire.DATAGRAM_MAX_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                continue  # of a datagram that was sent: nobody listens there yet
            found = wire.decode(octets, pop=self._pop, keys=self._keys)
            if isinstance(found, wire.Refusal):
                self._refused[found] += 1
                continue
            peer = self._peers[found.sender]
            brought += [(peer, page) for page in peer.link.receive(found, now_s)]
        # Pages of one kind are learnt at once: what it takes to learn some is nearly what it takes to learn a hundred.
        for _, group in groupby(brought, key=lambda each: (each[0].node, each[1].section)):
            pages = list(group)
            peer, section = pages[0][0], pages[0][1].section
            words = np.frombuffer(b"".join(page.words for _, page in pages), "<u8")
            self._learn(peer, section, words)
        self._push()

    def _learn(self, peer: _Peer, section: Section, words: Words) -> None:
        if section is Section.NAMES:
            peer.translation.learn(words)
            return
        if section is Section.SLOTS:
            sizes = {each.service: each.size for each in self._changes()}
            for each in inheritances(words, sizes, peer.translation.numbers):
                self._inherit(each)
            return
        mine = peer.translation(words)
        self._learnt += len(mine)
        match section:
            case Section.EVENTS:
                self._flows.told(mine)
            case Section.FRONT | Section.FLOWS:
                self._flows.known(mine, front=section is Section.FRONT)

    # What goes out.

    def _gather(self) -> None:
        """Events are there: leave them for a moment, so that many go together."""
        assert self._events is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._events.fd)
        loop.call_later(self._settings.flush_s, self._guarded, self._flush)

    def _flush(self) -> None:
        assert self._events is not None
        if self._socket is None:
            return
        words = self._events.take()["flow"]
        self._told += len(words)
        for peer in self._peers.values():
            peer.link.tell(Section.EVENTS, words.tobytes())
        self._push()
        asyncio.get_running_loop().add_reader(self._events.fd, self._guarded, self._gather)

    def _push(self) -> None:
        """Sends what is to be sent, and sets the timer for the next."""
        assert self._socket is not None
        now_s = self._clock()
        self._make_up(now_s)
        ready = self.ready
        if ready and self._call_synced is not None:
            self._call_synced()
            self._call_synced = None
        for peer in self._peers.values():
            if peer.link.wants_bulk:
                peer.link.bulk(self._all())
            for one in peer.link.send(now_s, ready=ready):
                try:
                    self._socket.sendto(wire.encode(one, pop=self._pop, key=peer.key), peer.to)
                except OSError:
                    self._unsent += 1  # as if it had been lost on its way
        if self._timer is not None:
            self._timer.cancel()
        if self._links:
            due_s = min(link.due_s(now_s) for link in self._links.values())
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due_s - now_s), self._guarded, self._push)

    def _make_up(self, now_s: float) -> None:
        """Where events were lost, peers get all flows anew; not again and again while a flood loses more."""
        lost = self._count_lost()
        if lost != self._lost and now_s >= self._renewed_s + RENEW_S:
            self._lost, self._renewed_s = lost, now_s
            for link in self._links.values():
                link.renew()

    def _all(self) -> Iterator[Page]:
        """Everything that a peer needs, as it is when the first page is asked for."""
        front, rest = self._flows.snapshot()
        for section, words in (
            (Section.NAMES, self._numbering.words()),
            *((Section.SLOTS, words_of(each)) for each in self._changes()),
            (Section.FRONT, front),
            (Section.FLOWS, rest),
        ):
            octets = words.tobytes()
            for start in range(0, len(octets), PAGE_BYTES):
                yield Page(section=section, words=octets[start : start + PAGE_BYTES])


def bind(listen: Endpoint) -> socket.socket:
    """A socket for a Sync. Raises OSError where the port cannot be had."""
    family = socket.AF_INET if listen.address.version == 4 else socket.AF_INET6
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            bound.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        bound.bind((str(listen.address), listen.port))
    except OSError:
        bound.close()
        raise
    return bound


def meaning(seed: Sequence[int]) -> int:
    """What the words of a flow table mean, as 64 bits: the seed of the packets' hash and the shape of the table."""
    told = f"{seed[0]:x} {seed[1]:x} {layout.FLOW_BUCKETS} {layout.FLOW_BUCKET_SHIFT} {layout.FLOW_TAG_SHIFT}"
    return int.from_bytes(blake2b(told.encode(), digest_size=8, person=b"gtm sync table").digest(), "big")


def _nonces() -> Iterator[int]:
    while True:
        yield secrets.randbits(64) | 1


def _status(peer: _Peer, now_s: float) -> PeerStatus:
    link = peer.link
    return PeerStatus(
        node=peer.node,
        established=link.established,
        compatible=link.compatible,
        ready=link.peer_ready,
        complete=link.complete,
        heard_s=None if link.heard_s is None else now_s - link.heard_s,
        sessions=link.sessions,
        waiting=link.waiting_words,
        resent=link.again,
        repeated=link.repeated,
        stale=link.stale,
        unknown=peer.translation.unknown,
    )
