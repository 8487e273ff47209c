"""The cluster: what this node tells the others of its checks, and what it hears of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gtm.app.observer import Observer
from gtm.app.within import within
from gtm.decide.quorum import Vantage
from gtm.model.check import Target
from gtm.model.cluster import ClusterState, PeerState
from gtm.model.errors import StoreError
from gtm.model.health import Health, Judgement
from gtm.store.shared_view import Peer, SharedView
from gtm.wire import opinions

if TYPE_CHECKING:  # it takes the extra `http`, which a node alone need not have
    from gtm.store.shared import Shared

log = structlog.get_logger()

OPINIONS = "opinions"
LOOK_S = 0.5
POST_S = 0.25  # the least time between two postings of opinions: 10,000 of them take some 20 ms to write


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A posting, and what it says."""

    payload: bytes
    opinions: dict[Target, Judgement]


class Cluster:
    """Carries opinions between the observer of this node and the shared store, until cancelled."""

    def __init__(self, shared: Shared, observer: Observer, node: str) -> None:
        """`shared` calls `heard` when something changed there; `observer`'s owner calls `moved`."""
        self._shared = shared
        self._observer = observer
        self._node = node
        self._heard: dict[str, _Heard] = {}
        self._moved = asyncio.Event()
        self._moved.set()

    def moved(self) -> None:
        """A verdict of this node has changed: post all of them soon."""
        self._moved.set()

    async def run(self) -> None:
        """Post what this node sees as it changes, and notice who has not been heard of for too long."""
        while True:
            if await within(self._moved, LOOK_S):
                self._shared.post(OPINIONS, opinions.encode(self._observer.own))
                await asyncio.sleep(POST_S)
            self.heard()

    def heard(self) -> None:
        """Take in what the others say now."""
        self._observer.hear(self._vantages(self._shared.seen()))

    def introduce(self, digest: str, revision: int) -> None:
        """Say which deployment this node runs, and which revision it serves."""
        self._shared.post_deployment(digest=digest, revision=revision)

    def told(self, kind: str) -> dict[str, bytes]:
        """What all other nodes post of a kind, by their names."""
        nodes = self._shared.seen().nodes.values()
        return {peer.name: peer.postings[kind] for peer in nodes if peer.name != self._node and kind in peer.postings}

    def state(self) -> ClusterState:
        """What is known of the store and of all nodes."""
        view = self._shared.seen()
        return ClusterState(
            connected=view.connected,
            age_s=view.age_s,
            revision=view.revision,
            problem=view.problem,
            nodes=tuple(self._peer(peer) for _, peer in sorted(view.nodes.items())),
        )

    def _peer(self, peer: Peer) -> PeerState:
        own = peer.name == self._node
        known = self._observer.own if own else self._opinions(peer.name)
        said = peer.deployment
        return PeerState(
            name=peer.name,
            region=None if said is None else said.region,
            deployment=None if said is None else said.digest,
            heard_s_ago=peer.heard_s_ago,
            fresh=own or peer.fresh,
            cut_off=peer.name in self._observer.cut_off,
            targets=len(known),
            down=sum(one.health is Health.DOWN for one in known.values()),
        )

    def _vantages(self, view: SharedView) -> list[Vantage]:
        others = [peer for peer in view.nodes.values() if peer.name != self._node and OPINIONS in peer.postings]
        for gone in self._heard.keys() - {peer.name for peer in others}:
            log.info("node_gone", peer=gone)
            del self._heard[gone]
        made = []
        for peer in sorted(others, key=lambda peer: peer.name):
            known = self._read(peer.name, peer.postings[OPINIONS])
            made.append(Vantage(name=peer.name, opinions=known, fresh=peer.fresh))
        return made

    def _opinions(self, name: str) -> Mapping[Target, Judgement]:
        known = self._heard.get(name)
        return {} if known is None else known.opinions

    def _read(self, name: str, payload: bytes) -> dict[Target, Judgement]:
        known = self._heard.get(name)
        if known is None or known.payload != payload:
            try:
                known = _Heard(payload=payload, opinions=opinions.decode(payload))
            except StoreError as error:
                log.error("peer_unreadable", peer=name, reason=str(error))
                known = _Heard(payload=payload, opinions={})
            self._heard[name] = known
        return known.opinions
