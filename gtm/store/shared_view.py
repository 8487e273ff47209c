"""What a node knows of the others through the shared store, and how that picture follows the store's changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gtm.model.override import Override, Subject
from gtm.store.etcd.layout import Layout, Posting, read_orders
from gtm.wire import etcd_answer

ALIVE = "alive"  # posted several times in a lease, so that others hear of a node that has no news
DEPLOYMENT = "deployment"
GONE_MAX = 256  # nodes that are no more, and how long they are still shown
GONE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """Which deployment a node runs: a digest of it, the revision that it serves, and the region it stands in."""

    digest: str
    revision: int
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node as the others know it: what it posted last by kind, and how long ago it was heard of.

    It is `fresh` while it has postings and was heard of within the lease. The time is by our monotonic clock. A node
    whose lease is over has no postings; it is shown for an hour more.
    """

    name: str
    postings: Mapping[str, bytes]
    heard_s_ago: float
    fresh: bool
    deployment: Deployed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedView:
    """What the shared store said last: the nodes by name, ours too, and the orders that stand.

    `age_s` is the time since the store was last heard of (None: never), `revision` the store's own at that time, and
    `problem` what is wrong, in words. While `connected` is false everything is as it was then, only older.
    """

    nodes: Mapping[str, Peer]
    overrides: tuple[Override, ...]
    connected: bool
    age_s: float | None
    revision: int
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class _Known:
    """A node: its postings with the revision of each, and when we last heard of it."""

    postings: dict[str, etcd_answer.KeyValue] = field(default_factory=dict)
    revision: int = 0
    heard_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A standing order, its revision in the store, and the end of its time on our monotonic clock.

    That end is worked out once, when the order is first seen: later jumps of the wall clock change nothing.
    """

    override: Override
    mod_revision: int
    ends_at_s: float | None


class Picture:
    """The nodes and orders, folded from what the store says. `now_s` is monotonic, `wall_s` since the epoch."""

    def __init__(self, layout: Layout, lease_s: float) -> None:
        """Empty."""
        self._layout = layout
        self._lease_s = lease_s
        self._nodes: dict[str, _Known] = {}
        self._orders: dict[Subject, Order] = {}
        self.faults: dict[bytes, str] = {}
        self.revision = 0

    def recall(self, overrides: Iterable[Override], revision: int, *, now_s: float, wall_s: float) -> None:
        """Take the orders of an earlier run, until the store says what stands."""
        for one in overrides:
            self._orders[one.subject] = _order(one, 0, now_s=now_s, wall_s=wall_s)
        self.revision = revision

    def replace(self, found: etcd_answer.Found, *, now_s: float, wall_s: float) -> None:
        """Take everything that the store has. A node counts as heard of if something of it is new to us."""
        here = {pair.key for pair in found.pairs}
        for name, node in self._nodes.items():
            node.postings = {
                kind: pair for kind, pair in node.postings.items() if self._layout.posting(name, kind) in here
            }
        self._orders = {one: order for one, order in self._orders.items() if self._layout.order(one) in here}
        self.faults = {key: fault for key, fault in self.faults.items() if key in here}
        if found.revision < self.revision:  # another history: its revisions say nothing about those that we know
            for node in self._nodes.values():
                node.revision = 0
        for pair in found.pairs:
            self._put(pair, now_s=now_s, wall_s=wall_s)
        self.revision = found.revision

    def apply(self, batch: etcd_answer.Batch, *, now_s: float, wall_s: float) -> bool:
        """Take changes; whether there is anything in them but nodes that are still there."""
        news = False
        for event in batch.events:
            if event.deleted:
                news |= self._delete(event.pair)
            else:
                news |= self._put(event.pair, now_s=now_s, wall_s=wall_s)
        self.revision = max(self.revision, batch.revision, *(one.pair.mod_revision for one in batch.events), 0)
        return news

    def _put(self, pair: etcd_answer.KeyValue, *, now_s: float, wall_s: float) -> bool:
        match self._layout.read(pair.key):
            case Posting(node=name, kind=kind):
                node = self._nodes.setdefault(name, _Known(heard_at_s=now_s))
                back = not self._fresh(node, now_s)
                if pair.mod_revision > node.revision:
                    node.revision, node.heard_at_s = pair.mod_revision, now_s
                before = node.postings.get(kind)
                node.postings[kind] = pair
                return back or (kind != ALIVE and (before is None or before.value != pair.value))
            case Subject() as subject:
                return self._order(subject, pair, now_s=now_s, wall_s=wall_s)
        return False

    def _order(self, subject: Subject, pair: etcd_answer.KeyValue, *, now_s: float, wall_s: float) -> bool:
        before = self._orders.get(subject)
        overrides, faults = read_orders(self._layout, (pair,))
        self.faults.pop(pair.key, None)
        if faults:
            self.faults[pair.key] = faults[0]
            return self._orders.pop(subject, None) is not None
        if before is not None and before.override == overrides[0]:  # the end of its time stays as it was worked out
            self._orders[subject] = Order(
                override=before.override, mod_revision=pair.mod_revision, ends_at_s=before.ends_at_s
            )
            return False
        self._orders[subject] = _order(overrides[0], pair.mod_revision, now_s=now_s, wall_s=wall_s)
        return True

    def _delete(self, pair: etcd_answer.KeyValue) -> bool:
        self.faults.pop(pair.key, None)
        match self._layout.read(pair.key):
            case Posting(node=name, kind=kind):
                node = self._nodes.get(name)
                return node is not None and node.postings.pop(kind, None) is not None
            case Subject() as subject:
                return self._orders.pop(subject, None) is not None
        return False

    def _fresh(self, node: _Known, now_s: float) -> bool:
        return bool(node.postings) and now_s - node.heard_at_s < self._lease_s

    def fresh(self, now_s: float) -> frozenset[str]:
        """The nodes that are there."""
        return frozenset(name for name, node in self._nodes.items() if self._fresh(node, now_s))

    def posting(self, node: str, kind: str) -> etcd_answer.KeyValue | None:
        """What a node posted last."""
        known = self._nodes.get(node)
        return None if known is None else known.postings.get(kind)

    def peers(self, now_s: float) -> Iterator[Peer]:
        """The nodes, by name."""
        for name, node in sorted(self._nodes.items()):
            said = node.postings.get(DEPLOYMENT)
            yield Peer(
                name=name,
                postings={kind: pair.value for kind, pair in sorted(node.postings.items()) if kind != ALIVE},
                heard_s_ago=max(0.0, now_s - node.heard_at_s),
                fresh=self._fresh(node, now_s),
                deployment=None if said is None else decode_deployed(said.value),
            )

    def orders(self, now_s: float) -> tuple[Override, ...]:
        """The orders that stand, oldest first."""
        standing = (one.override for one in self._orders.values() if one.ends_at_s is None or now_s < one.ends_at_s)
        return tuple(sorted(standing, key=lambda one: (one.since_s, str(one.subject))))

    def over(self, now_s: float) -> tuple[Order, ...]:
        """The orders that the store still has though their time is over."""
        return tuple(
            one
            for one in self._orders.values()
            if one.mod_revision and one.ends_at_s is not None and now_s >= one.ends_at_s
        )

    def forget(self, now_s: float) -> None:
        """Drop nodes that went long ago, and the oldest of them where there are many."""
        gone = sorted((node.heard_at_s, name) for name, node in self._nodes.items() if not node.postings)
        for position, (heard_at_s, name) in enumerate(gone):
            if now_s - heard_at_s > GONE_S or position < len(gone) - GONE_MAX:
                del self._nodes[name]


def _order(override: Override, mod_revision: int, *, now_s: float, wall_s: float) -> Order:
    ends_at_s = None if override.until_s is None else now_s + override.until_s - wall_s
    return Order(override=override, mod_revision=mod_revision, ends_at_s=ends_at_s)


def encode_deployed(deployed: Deployed) -> bytes:
    """What a node posts of its deployment."""
    return json.dumps(
        {"digest": deployed.digest, "revision": deployed.revision, "region": deployed.region}, separators=(",", ":")
    ).encode()


def decode_deployed(payload: bytes) -> Deployed | None:
    """The same read; None for what makes no sense, as from a node of another version."""
    try:
        found = json.loads(payload)
        region = found.get("region")
        return Deployed(
            digest=str(found["digest"]),
            revision=int(found["revision"]),
            region=None if region is None else str(region),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
