"""What etcd v3 answers through its JSON gateway (etcd 3.4 and newer): values and their bodies, both ways.

Field names are those of etcd's rpc.proto and kv.proto. Malformed bodies raise WireError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import assert_never

from gtm.wire.jsonpb import Json, base64_text, below, listing, number, number_text, octets, parse, present, text, truth

COMPACTED = 11  # OUT_OF_RANGE of gRPC: the revision is compacted away, or still to come
NOT_FOUND = 5  # among others: the lease is gone
UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A key, its value, and the revisions of the store at which it was made and last changed."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Keys of a range; `count` is how many there are in all."""

    revision: int
    pairs: tuple[KeyValue, ...] = ()
    count: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A key was put."""

    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """So many keys were deleted."""

    revision: int
    count: int = 0


Outcome = Found | Written | Deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Whether a transaction's compares held, and what its operations gave."""

    revision: int
    succeeded: bool
    outcomes: tuple[Outcome, ...] = ()

    @property
    def pair(self) -> KeyValue | None:
        """The first key that its first operation found, where that was a Range."""
        match self.outcomes:
            case (Found(pairs=(pair, *_)), *_):
                return pair
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A lease and the seconds it lasts from now; 0: there is no such lease (any more)."""

    revision: int
    lease: int
    ttl_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The lease has ended."""

    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """A token, for the header Authorization."""

    revision: int
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A key was put, or `deleted`; then `pair` has its key and the revision at which it went."""

    pair: KeyValue
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One line of a watch: events of one revision or more in their order, and whether it was made or has ended.

    `compact_revision` above 0: what was to be watched from is compacted away, and that is the oldest still there.
    """

    revision: int
    events: tuple[Event, ...] = ()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """etcd refused: a status code of gRPC, and its words."""

    code: int
    message: str


Answer = Outcome | Decided | Leased | Revoked | Authenticated | Batch


def decode_failure(body: bytes) -> Failure:
    """What an answer with another status than 200 says. Raises WireError."""
    document = parse(body)
    return Failure(code=number(document, "code"), message=text(document, "message") or text(document, "error"))


def decode_found(body: bytes) -> Found:
    """The answer to a Range. Raises WireError."""
    document = parse(body)
    return _read_found(document, _revision(document))


def decode_revision(body: bytes) -> int:
    """The store's revision at the time of any answer. Raises WireError."""
    return _revision(parse(body))


def decode_decided(body: bytes) -> Decided:
    """The answer to a Txn. Raises WireError."""
    document = parse(body)
    revision = _revision(document)
    outcomes = tuple(_read_outcome(one, revision) for one in listing(document, "responses"))
    return Decided(revision=revision, succeeded=truth(document, "succeeded"), outcomes=outcomes)


def decode_leased(body: bytes) -> Leased:
    """The answer to a Grant, or the first line of that to a KeepAlive. Raises WireError."""
    document = parse(body)
    document = _result(document) if "result" in document or "error" in document else document
    return Leased(revision=_revision(document), lease=number(document, "ID"), ttl_s=number(document, "TTL"))


def decode_authenticated(body: bytes) -> Authenticated:
    """The answer to an Authenticate. Raises WireError."""
    document = parse(body)
    return Authenticated(revision=_revision(document), token=text(document, "token"))


def decode_batch(line: bytes | str) -> Batch | Failure:
    """One line of a watch; a Failure where it was refused. Raises WireError."""
    document = parse(line)
    if "error" in document:
        fault = below(document, "error")
        return Failure(code=number(fault, "grpc_code", "code"), message=text(fault, "message"))
    result = _result(document)
    return Batch(
        revision=_revision(result),
        events=tuple(_read_event(one) for one in listing(result, "events")),
        created=truth(result, "created"),
        canceled=truth(result, "canceled"),
        compact_revision=number(result, "compact_revision"),
        reason=text(result, "cancel_reason"),
    )


def encode_answer(answer: Answer) -> bytes:
    """An answer's body; of a watch, one line. It is what a stand-in for etcd says."""
    document = {"header": present(revision=number_text(answer.revision)), **_answer(answer)}
    return json.dumps({"result": document} if isinstance(answer, Batch) else document).encode()


def _answer(answer: Answer) -> Json:
    match answer:
        case Found() | Written() | Deleted():
            return _outcome(answer)
        case Decided():
            responses = [
                {_RESPONSE[type(one)]: {"header": {"revision": str(one.revision)}, **_outcome(one)}}
                for one in answer.outcomes
            ]
            return present(succeeded=answer.succeeded, responses=responses)
        case Leased():
            return present(ID=number_text(answer.lease), TTL=number_text(answer.ttl_s))
        case Revoked():
            return {}
        case Authenticated():
            return present(token=answer.token)
        case Batch():
            return present(
                events=[{**present(type="DELETE" * one.deleted), "kv": _pair(one.pair)} for one in answer.events],
                created=answer.created,
                canceled=answer.canceled,
                compact_revision=number_text(answer.compact_revision),
                cancel_reason=answer.reason,
            )
    assert_never(answer)


_RESPONSE = {Found: "response_range", Written: "response_put", Deleted: "response_delete_range"}


def _outcome(one: Outcome) -> Json:
    match one:
        case Found():
            return present(kvs=[_pair(pair) for pair in one.pairs], count=number_text(one.count), more=one.more)
        case Written():
            return {}
        case Deleted():
            return present(deleted=number_text(one.count))
    assert_never(one)


def _read_outcome(one: Json, revision: int) -> Outcome:
    if "response_range" in one:
        return _read_found(below(one, "response_range"), revision)
    if "response_delete_range" in one:
        gone = below(one, "response_delete_range")
        return Deleted(revision=_revision(gone, revision), count=number(gone, "deleted"))
    return Written(revision=_revision(below(one, "response_put"), revision))


def _read_found(document: Json, revision: int) -> Found:
    return Found(
        revision=_revision(document, revision),
        pairs=tuple(_read_pair(one) for one in listing(document, "kvs")),
        count=number(document, "count"),
        more=truth(document, "more"),
    )


def _pair(pair: KeyValue) -> Json:
    return present(
        key=base64_text(pair.key),
        create_revision=number_text(pair.create_revision),
        mod_revision=number_text(pair.mod_revision),
        version=number_text(pair.version),
        value=base64_text(pair.value),
        lease=number_text(pair.lease),
    )


def _read_pair(one: Json) -> KeyValue:
    return KeyValue(
        key=octets(one, "key"),
        value=octets(one, "value"),
        create_revision=number(one, "create_revision"),
        mod_revision=number(one, "mod_revision"),
        version=number(one, "version"),
        lease=number(one, "lease"),
    )


def _read_event(one: Json) -> Event:
    return Event(pair=_read_pair(below(one, "kv")), deleted=text(one, "type") == "DELETE")


def _result(document: Json) -> Json:
    return below(document, "result")


def _revision(document: Json, otherwise: int = 0) -> int:
    header = below(document, "header")
    return number(header, "revision") if header else otherwise
