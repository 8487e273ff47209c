"""What the two processes of an announcer tell each other, as datagrams: lists in JSON, each with its kind first.

The thinker gives orders, the supervisor has words. Both are of one version of gtm, one started by the other, so a
message that is not understood is a fault here and raises.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, assert_never

from gtm.model.address import IPAddress
from gtm.model.route import Attributes, Communities, Community, LargeCommunity
from gtm.wire.exabgp.reply import Neighbours, NeighbourState, Other, Reply, RibRoute, Shutdown
from gtm.wire.exabgp.session import Accepted, Answer, Refused

DATAGRAM_MAX_BYTES = 32_768  # far below what a socket's buffer takes, and enough for some hundred routes
TEXT_MAX = 2_000
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """An order: have `command` written for `key`. `undo` withdraws it when the lease of `group` is over.

    `undo` None: the command is a withdrawal itself, and the key is given up once it is taken.
    """

    key: str
    group: str
    command: str
    undo: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """An order: the lease of each group ends so many seconds from now (None: never); others keep theirs."""

    groups: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An order: put a question to ExaBGP."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An order that is the last: what is left to do needs neither ExaBGP nor the supervisor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A word before Hail: a route that ExaBGP may have from us, its group, and the command that withdraws it."""

    key: str
    group: str
    undo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hail:
    """The word that begins it: who runs, after what ExaBGP may have from an announcer before."""

    supervisor_pid: int
    exabgp_pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The word that ExaBGP has told its version, as it writes it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The supervisor lives. `outstanding` commands are not answered, the oldest for `waited_s`; `waiting` to go."""

    outstanding: int
    waiting: int
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The lease of these groups is over: their routes have been withdrawn, or are being."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Words before this were lost, since nobody read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The word to end: ExaBGP ends too (its sessions with it), or the announcer alone."""

    exabgp_ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Replies of an answer that is still to come."""

    question: str
    replies: tuple[Reply, ...]


Order = Want | Renew | Ask | Leaving
Word = Owned | Hail | Version | Beat | Accepted | Refused | Part | Answer | NeighbourState | Expired | Lost | Stop


def pack(messages: Iterable[Order | Word]) -> Iterator[bytes]:
    """Messages as datagrams, in their order, as many in each as it holds."""
    parts: list[str] = []
    size = 0
    for message in messages:
        text = json.dumps(_row(message), separators=(",", ":"))
        if parts and size + len(text) > DATAGRAM_MAX_BYTES:
            yield f"[{','.join(parts)}]".encode()
            parts, size = [], 0
        parts.append(text)
        size += len(text) + 1
    if parts:
        yield f"[{','.join(parts)}]".encode()


def split(answer: Answer, count: int = 100) -> Iterator[Word]:
    """An answer as words of which each fits a datagram."""
    for start in range(0, len(answer.replies), count):
        yield Part(question=answer.question, replies=answer.replies[start : start + count])
    yield Answer(question=answer.question, ok=answer.ok, replies=())


def orders(datagram: bytes) -> list[Order]:
    """The orders in a datagram. Raises ValueError, TypeError, LookupError for what is none."""
    return [_order(*row) for row in json.loads(datagram)]


def words(datagram: bytes) -> list[Word]:
    """The words in a datagram. Raises as `orders`."""
    return [_word(*row) for row in json.loads(datagram)]


def _order(kind: str, *rest: Any) -> Order:  # noqa: ANN401 - as the kind says
    match kind:
        case "want":
            key, group, command, undo = rest
            return Want(key=key, group=group, command=command, undo=undo)
        case "renew":
            return Renew(groups=rest[0])
        case "ask":
            return Ask(question=rest[0])
        case "leaving":
            return Leaving()
    raise ValueError(f"no order: {kind!r}")


def _word(kind: str, *rest: Any) -> Word:  # noqa: ANN401 - as the kind says
    match kind:
        case "hail":
            return Hail(supervisor_pid=rest[0], exabgp_pid=rest[1])
        case "owned":
            return Owned(key=rest[0], group=rest[1], undo=rest[2])
        case "version":
            return Version(text=rest[0])
        case "beat":
            return Beat(outstanding=rest[0], waiting=rest[1], waited_s=rest[2])
        case "expired":
            return Expired(groups=tuple(rest[0]))
        case "lost":
            return Lost()
        case "stop":
            return Stop(exabgp_ends=rest[0])
    return _event(kind, *rest)


def _event(kind: str, *rest: Any) -> Word:  # noqa: ANN401 - as the kind says
    match kind:
        case "accepted":
            return Accepted(key=rest[0], command=rest[1])
        case "refused":
            return Refused(key=rest[0], command=rest[1])
        case "part":
            return Part(question=rest[0], replies=tuple(_reply(row) for row in rest[1]))
        case "answer":
            return Answer(question=rest[0], ok=rest[1], replies=tuple(_reply(row) for row in rest[2]))
        case "state":
            return NeighbourState(neighbour=ip_address(rest[0]), up=rest[1], reason=rest[2])
    raise ValueError(f"no word: {kind!r}")


def _row(one: Order | Word) -> list[object]:  # noqa: C901 - one line for each kind
    match one:
        case Want():
            return ["want", one.key, one.group, one.command, one.undo]
        case Renew():
            return ["renew", dict(one.groups)]
        case Ask():
            return ["ask", one.question]
        case Leaving():
            return ["leaving"]
        case Hail():
            return ["hail", one.supervisor_pid, one.exabgp_pid]
        case Owned():
            return ["owned", one.key, one.group, one.undo]
        case Version():
            return ["version", one.text]
        case Beat():
            return ["beat", one.outstanding, one.waiting, one.waited_s]
        case Accepted():
            return ["accepted", one.key, one.command]
        case Refused():
            return ["refused", one.key, one.command]
        case Part():
            return ["part", one.question, [_reply_row(each) for each in one.replies]]
        case Answer():
            return ["answer", one.question, one.ok, [_reply_row(each) for each in one.replies]]
        case NeighbourState():
            return ["state", str(one.neighbour), one.up, one.reason]
        case Expired():
            return ["expired", list(one.groups)]
        case Lost():
            return ["lost"]
        case Stop():
            return ["stop", one.exabgp_ends]
    assert_never(one)


def _reply_row(one: Reply) -> list[object]:
    match one:
        case RibRoute():
            return ["rib", str(one.neighbour), str(one.prefix), one.path_id, _attributes_row(one.attributes)]
        case Neighbours():
            return ["neighbours", [[str(each.neighbour), each.up, each.reason] for each in one.states]]
        case NeighbourState():
            return ["neighbours", [[str(one.neighbour), one.up, one.reason]]]
        case Other():
            return ["other", one.text[:TEXT_MAX]]
        case Shutdown():
            return ["other", "shutdown"]
        case _:
            return ["other", ""]


def _reply(row: list[Any]) -> Reply:
    match row[0]:
        case "rib":
            _, neighbour, prefix, path_id, attributes = row
            return RibRoute(
                neighbour=ip_address(neighbour),
                prefix=ip_network(prefix),
                path_id=path_id,
                attributes=_attributes(*attributes),
            )
        case "neighbours":
            return Neighbours(
                states=tuple(NeighbourState(neighbour=ip_address(who), up=up, reason=why) for who, up, why in row[1])
            )
    return Other(row[1])


def _attributes_row(one: Attributes) -> list[object]:
    hop = None if one.next_hop is None else str(one.next_hop)
    communities = one.communities
    return [hop, one.med, one.local_pref, list(one.as_path), list(communities.standard), list(communities.large)]


def _attributes(
    hop: str | None,
    med: int | None,
    local_pref: int | None,
    as_path: list[int],
    standard: list[list[int]],
    large: list[list[int]],
) -> Attributes:
    address: IPAddress | None = None if hop is None else ip_address(hop)
    return Attributes(
        next_hop=address,
        med=med,
        local_pref=local_pref,
        as_path=tuple(as_path),
        communities=Communities(
            standard=tuple(Community(*each) for each in standard),
            large=tuple(LargeCommunity(*each) for each in large),
        ),
    )
