"""Where things are in etcd: the keys below a prefix, and orders of people as their values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from gtm.model.errors import StoreError
from gtm.model.override import Action, Override, Subject
from gtm.store.overrides import AuditEntry
from gtm.wire import etcd_answer
from gtm.wire.etcd import prefix_end

KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """The key of something that a node has posted."""

    node: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerKey:
    """The key of what a BGP speaker tells the others."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveKey:
    """The key of the permit to leave a service."""

    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The keys of one prefix: nodes/NODE/KIND, overrides/SUBJECT, audit/TIME-NONCE, `changed`, and those of BGP.

    Those are bgp/speaker/NODE and bgp/leave/SERVICE.

    `changed` is put with every change of orders: who changes one says which of its revisions the look was at.
    """

    prefix: str

    def posting(self, node: str, kind: str) -> bytes:
        """The key of what a node posts."""
        return f"{self.prefix}/nodes/{node}/{kind}".encode()

    def order(self, subject: Subject) -> bytes:
        """The key of a subject's order."""
        return f"{self.prefix}/overrides/{subject}".encode()

    def audit(self, name: str) -> bytes:
        """The key of an entry of the audit."""
        return f"{self.prefix}/audit/{name}".encode()

    @property
    def changed(self) -> bytes:
        """The key that changes with every order."""
        return f"{self.prefix}/changed".encode()

    @property
    def orders(self) -> tuple[bytes, bytes]:
        """The range of all orders."""
        return _span(f"{self.prefix}/overrides/")

    @property
    def audits(self) -> tuple[bytes, bytes]:
        """The range of the audit."""
        return _span(f"{self.prefix}/audit/")

    @property
    def shared(self) -> tuple[bytes, bytes]:
        """One range that has all postings and all orders, and nothing else of ours."""
        return f"{self.prefix}/nodes/".encode(), _span(f"{self.prefix}/overrides/")[1]

    def speaker(self, node: str) -> bytes:
        """The key of what a speaker tells."""
        return f"{self.prefix}/bgp/speaker/{node}".encode()

    def leave(self, service: str) -> bytes:
        """The key of the permit to leave a service."""
        return f"{self.prefix}/bgp/leave/{service}".encode()

    @property
    def announcing(self) -> tuple[bytes, bytes]:
        """The range of all that speakers tell, and of all permits."""
        return _span(f"{self.prefix}/bgp/")

    def read_announcing(self, key: bytes) -> SpeakerKey | LeaveKey | None:
        """What a key of that range is about; None for keys that are not ours."""
        match key.decode("utf-8", "replace").removeprefix(f"{self.prefix}/bgp/").split("/"):
            case ["speaker", node] if node:
                return SpeakerKey(node=node)
            case ["leave", service] if service:
                return LeaveKey(service=service)
        return None

    def read(self, key: bytes) -> Posting | Subject | None:
        """What a key is about; None for keys that are not ours."""
        match key.decode("utf-8", "replace").removeprefix(f"{self.prefix}/").split("/", 1):
            case ["nodes", rest]:
                node, slash, kind = rest.partition("/")
                return Posting(node=node, kind=kind) if node and slash and KIND.fullmatch(kind) else None
            case ["overrides", rest]:
                try:
                    return Subject.parse(rest)
                except ValueError:
                    return None
        return None


def _span(prefix: str) -> tuple[bytes, bytes]:
    return prefix.encode(), prefix_end(prefix.encode())


def encode_order(order: Override) -> bytes:
    """An order as the value of its key."""
    return _json(
        action=str(order.action),
        owner=order.owner,
        reason=order.reason,
        since_s=order.since_s,
        until_s=order.until_s,
    )


def decode_order(subject: Subject, value: bytes) -> Override:
    """The order of a subject. Raises StoreError for what is none."""
    try:
        found = json.loads(value)
        return Override(
            subject=subject,
            action=Action(found["action"]),
            owner=str(found["owner"]),
            reason=str(found["reason"]),
            since_s=_time(found["since_s"]),
            until_s=None if found["until_s"] is None else _time(found["until_s"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"etcd: the order for {subject} makes no sense: {type(error).__name__} {error}") from None


def _time(value: object) -> float:
    """Seconds since the epoch. Raises ValueError, TypeError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    raise ValueError(f"{value!r:.40} is no time")


def encode_entry(entry: AuditEntry) -> bytes:
    """An entry of the audit as the value of its key."""
    return _json(
        at_s=entry.at_s,
        who=entry.who,
        what=entry.what,
        subject=str(entry.subject),
        why=entry.why,
        until_s=entry.until_s,
        before=entry.before,
    )


def decode_entry(value: bytes) -> AuditEntry | None:
    """An entry of the audit; None for what is none."""
    try:
        found = json.loads(value)
        kind, _, name = str(found["subject"]).partition("/")
        return AuditEntry(
            at_s=_time(found["at_s"]),
            who=str(found["who"]),
            what=str(found["what"]),
            subject=Subject(kind=kind, name=name),
            why=str(found["why"]),
            until_s=None if found["until_s"] is None else _time(found["until_s"]),
            before=None if found["before"] is None else str(found["before"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _json(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def read_orders(
    layout: Layout, pairs: tuple[etcd_answer.KeyValue, ...]
) -> tuple[tuple[Override, ...], tuple[str, ...]]:
    """The orders among some keys, oldest first, and what makes no sense."""
    orders: list[Override] = []
    faults: list[str] = []
    for pair in pairs:
        subject = layout.read(pair.key)
        if not isinstance(subject, Subject):
            faults.append(f"etcd: {pair.key.decode('utf-8', 'replace')[:80]} is no key of an order")
            continue
        try:
            orders.append(decode_order(subject, pair.value))
        except StoreError as error:
            faults.append(str(error))
    return tuple(sorted(orders, key=lambda one: (one.since_s, str(one.subject)))), tuple(faults)
