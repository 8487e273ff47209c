"""etcd v3 as its JSON gateway speaks it (etcd 3.4 and newer, POST to /v3/...): requests and answers, both ways.

Keys and values are base64, 64-bit numbers are decimal text, and what is absent has its default, as in the JSON mapping
of Protocol Buffers. Field names are those of etcd's rpc.proto and kv.proto. Malformed JSON raises WireError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar, assert_never

from gtm.wire.error import WireError

Json = Mapping[str, object]
T = TypeVar("T")

COMPACTED = 11  # OUT_OF_RANGE of gRPC: the revision is compacted away, or still to come
NOT_FOUND = 5  # among others: the lease is gone
UNAUTHENTICATED = 16


class Target(StrEnum):
    """What of a key a transaction compares: its revision of creation, of the last change, or its number of changes."""

    CREATE = "CREATE"
    MOD = "MOD"
    VERSION = "VERSION"


_COMPARED = {Target.CREATE: "create_revision", Target.MOD: "mod_revision", Target.VERSION: "version"}


# Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Set a key; with `lease` it lives as long as that lease."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The keys from `key` up to and without `range_end` (empty: only `key`), at most `limit` (0: all).

    They come in the order of keys, or with `newest_first` in that of their creation, the newest first.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    keys_only: bool = False
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete the keys from `key` up to and without `range_end` (empty: only `key`)."""

    key: bytes
    range_end: bytes = b""


Operation = Put | Range | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Holds if the key's `target` is `number`; 0 for keys that are not there."""

    key: bytes
    target: Target
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Txn:
    """All of `success` if every compare holds, else all of `failure`; at one revision."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Make a lease of some seconds."""

    ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """Give a lease its full time again."""

    lease: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """End a lease, and with it its keys."""

    lease: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """Ask for a token."""

    name: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Every change of the keys from `key` up to and without `range_end`, since `start_revision`."""

    key: bytes
    range_end: bytes
    start_revision: int


Request = Operation | Txn | Grant | KeepAlive | Revoke | Authenticate | Watch


# Answers


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


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`, whose last octet is below 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def path(request: Request) -> str:
    """Where a request is posted."""
    match request:
        case Put():
            return "/v3/kv/put"
        case Range():
            return "/v3/kv/range"
        case Delete():
            return "/v3/kv/deleterange"
        case Txn():
            return "/v3/kv/txn"
        case Grant():
            return "/v3/lease/grant"
        case KeepAlive():
            return "/v3/lease/keepalive"
        case Revoke():
            return "/v3/lease/revoke"
        case Authenticate():
            return "/v3/auth/authenticate"
        case Watch():
            return "/v3/watch"
    assert_never(request)


def encode(request: Request) -> bytes:
    """A request's body."""
    return json.dumps(_request(request), separators=(",", ":")).encode()


def _request(request: Request) -> Json:
    match request:
        case Put() | Range() | Delete():
            return _operation(request)
        case Txn():
            return _present(
                compare=[_compare(one) for one in request.compares],
                success=[{_REQUEST[type(one)]: _operation(one)} for one in request.success],
                failure=[{_REQUEST[type(one)]: _operation(one)} for one in request.failure],
            )
        case Grant(ttl_s=ttl_s):
            return _present(TTL=_int(ttl_s))
        case KeepAlive(lease=lease) | Revoke(lease=lease):
            return _present(ID=_int(lease))
        case Authenticate():
            return _present(name=request.name, password=request.password)
        case Watch():
            return {"create_request": _span(request.key, request.range_end, start_revision=request.start_revision)}
    assert_never(request)


def _operation(request: Operation) -> Json:
    match request:
        case Put():
            return _present(key=_b64(request.key), value=_b64(request.value), lease=_int(request.lease))
        case Range():
            order = {"sort_order": "DESCEND", "sort_target": "CREATE"} if request.newest_first else {}
            return {
                **_span(request.key, request.range_end, limit=request.limit),
                **_present(keys_only=request.keys_only),
                **order,
            }
        case Delete():
            return _span(request.key, request.range_end)
    assert_never(request)


_REQUEST = {Put: "request_put", Range: "request_range", Delete: "request_delete_range"}


def _span(key: bytes, range_end: bytes, **numbers: int) -> Json:
    spelt = {name: _int(number) for name, number in numbers.items()}
    return _present(key=_b64(key), range_end=_b64(range_end), **spelt)


def _compare(one: Compare) -> Json:
    number = {_COMPARED[one.target]: _int(one.number)}
    return {**_present(key=_b64(one.key)), "target": str(one.target), "result": "EQUAL", **_present(**number)}


def decode(where: str, body: bytes) -> Request:
    """The request that a body posted to a path is. Raises WireError."""
    document = _parse(body)
    operations: dict[str, Callable[[Json], Operation]] = {
        "/v3/kv/put": _read_put,
        "/v3/kv/range": _read_range,
        "/v3/kv/deleterange": _read_delete,
    }
    if where in operations:
        return operations[where](document)
    match where:
        case "/v3/kv/txn":
            return Txn(
                compares=tuple(_read_compare(one) for one in _listing(document, "compare")),
                success=tuple(_read_operation(one) for one in _listing(document, "success")),
                failure=tuple(_read_operation(one) for one in _listing(document, "failure")),
            )
        case "/v3/lease/grant":
            return Grant(ttl_s=_number(document, "TTL"))
        case "/v3/lease/keepalive":
            return KeepAlive(lease=_number(document, "ID"))
        case "/v3/lease/revoke":
            return Revoke(lease=_number(document, "ID"))
        case "/v3/auth/authenticate":
            return Authenticate(name=_text(document, "name"), password=_text(document, "password"))
        case "/v3/watch":
            made = _below(document, "create_request")
            start = _number(made, "start_revision")
            return Watch(key=_octets(made, "key"), range_end=_octets(made, "range_end"), start_revision=start)
    raise WireError(f"{where[:80]!r} is no path of etcd that is used here")


def _read_put(one: Json) -> Put:
    return Put(key=_octets(one, "key"), value=_octets(one, "value"), lease=_number(one, "lease"))


def _read_range(one: Json) -> Range:
    return Range(
        key=_octets(one, "key"),
        range_end=_octets(one, "range_end"),
        limit=_number(one, "limit"),
        keys_only=_truth(one, "keys_only"),
        newest_first=_text(one, "sort_order") == "DESCEND" and _text(one, "sort_target") == "CREATE",
    )


def _read_delete(one: Json) -> Delete:
    return Delete(key=_octets(one, "key"), range_end=_octets(one, "range_end"))


def _read_operation(one: Json) -> Operation:
    if "request_put" in one:
        return _read_put(_below(one, "request_put"))
    if "request_range" in one:
        return _read_range(_below(one, "request_range"))
    return _read_delete(_below(one, "request_delete_range"))


def _read_compare(one: Json) -> Compare:
    try:
        target = Target(_text(one, "target") or Target.VERSION)
    except ValueError:
        raise WireError("a target that is not compared here") from None
    return Compare(key=_octets(one, "key"), target=target, number=_number(one, _COMPARED[target]))


# Answers' bodies


def decode_failure(body: bytes) -> Failure:
    """What an answer with another status than 200 says. Raises WireError."""
    document = _parse(body)
    return Failure(code=_number(document, "code"), message=_text(document, "message") or _text(document, "error"))


def decode_found(body: bytes) -> Found:
    """The answer to a Range. Raises WireError."""
    document = _parse(body)
    return _read_found(document, _revision(document))


def decode_revision(body: bytes) -> int:
    """The store's revision at the time of any answer. Raises WireError."""
    return _revision(_parse(body))


def decode_decided(body: bytes) -> Decided:
    """The answer to a Txn. Raises WireError."""
    document = _parse(body)
    revision = _revision(document)
    outcomes = tuple(_read_outcome(one, revision) for one in _listing(document, "responses"))
    return Decided(revision=revision, succeeded=_truth(document, "succeeded"), outcomes=outcomes)


def decode_leased(body: bytes) -> Leased:
    """The answer to a Grant, or the first line of that to a KeepAlive. Raises WireError."""
    document = _parse(body)
    document = _result(document) if "result" in document or "error" in document else document
    return Leased(revision=_revision(document), lease=_number(document, "ID"), ttl_s=_number(document, "TTL"))


def decode_authenticated(body: bytes) -> Authenticated:
    """The answer to an Authenticate. Raises WireError."""
    document = _parse(body)
    return Authenticated(revision=_revision(document), token=_text(document, "token"))


def decode_batch(line: bytes | str) -> Batch | Failure:
    """One line of a watch; a Failure where it was refused. Raises WireError."""
    document = _parse(line)
    if "error" in document:
        fault = _below(document, "error")
        return Failure(code=_number(fault, "grpc_code", "code"), message=_text(fault, "message"))
    result = _result(document)
    return Batch(
        revision=_revision(result),
        events=tuple(_read_event(one) for one in _listing(result, "events")),
        created=_truth(result, "created"),
        canceled=_truth(result, "canceled"),
        compact_revision=_number(result, "compact_revision"),
        reason=_text(result, "cancel_reason"),
    )


def encode_answer(answer: Answer) -> bytes:
    """An answer's body; of a watch, one line. It is what a stand-in for etcd says."""
    document = {"header": _present(revision=_int(answer.revision)), **_answer(answer)}
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
            return _present(succeeded=answer.succeeded, responses=responses)
        case Leased():
            return _present(ID=_int(answer.lease), TTL=_int(answer.ttl_s))
        case Revoked():
            return {}
        case Authenticated():
            return _present(token=answer.token)
        case Batch():
            return _present(
                events=[{**_present(type="DELETE" * one.deleted), "kv": _pair(one.pair)} for one in answer.events],
                created=answer.created,
                canceled=answer.canceled,
                compact_revision=_int(answer.compact_revision),
                cancel_reason=answer.reason,
            )
    assert_never(answer)


_RESPONSE = {Found: "response_range", Written: "response_put", Deleted: "response_delete_range"}


def _outcome(one: Outcome) -> Json:
    match one:
        case Found():
            return _present(kvs=[_pair(pair) for pair in one.pairs], count=_int(one.count), more=one.more)
        case Written():
            return {}
        case Deleted():
            return _present(deleted=_int(one.count))
    assert_never(one)


def _read_outcome(one: Json, revision: int) -> Outcome:
    if "response_range" in one:
        return _read_found(_below(one, "response_range"), revision)
    if "response_delete_range" in one:
        gone = _below(one, "response_delete_range")
        return Deleted(revision=_revision(gone, revision), count=_number(gone, "deleted"))
    return Written(revision=_revision(_below(one, "response_put"), revision))


def _read_found(document: Json, revision: int) -> Found:
    return Found(
        revision=_revision(document, revision),
        pairs=tuple(_read_pair(one) for one in _listing(document, "kvs")),
        count=_number(document, "count"),
        more=_truth(document, "more"),
    )


def _pair(pair: KeyValue) -> Json:
    return _present(
        key=_b64(pair.key),
        create_revision=_int(pair.create_revision),
        mod_revision=_int(pair.mod_revision),
        version=_int(pair.version),
        value=_b64(pair.value),
        lease=_int(pair.lease),
    )


def _read_pair(one: Json) -> KeyValue:
    return KeyValue(
        key=_octets(one, "key"),
        value=_octets(one, "value"),
        create_revision=_number(one, "create_revision"),
        mod_revision=_number(one, "mod_revision"),
        version=_number(one, "version"),
        lease=_number(one, "lease"),
    )


def _read_event(one: Json) -> Event:
    return Event(pair=_read_pair(_below(one, "kv")), deleted=_text(one, "type") == "DELETE")


# JSON


def _present(**fields: object) -> Json:
    """The fields that are not their defaults."""
    return {name: value for name, value in fields.items() if value}


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _int(number: int) -> str:
    return str(number) if number else ""


def _parse(body: bytes | str) -> Json:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError("is not JSON") from None
    return _mapping(document)


def _mapping(value: object) -> Json:
    if isinstance(value, dict):
        return value
    raise WireError("has something else where an object belongs")


def _result(document: Json) -> Json:
    return _below(document, "result")


def _below(document: Json, key: str) -> Json:
    return _mapping(document.get(key, {}))


def _listing(document: Json, key: str) -> Sequence[Json]:
    found = document.get(key, [])
    if isinstance(found, list):
        return [_mapping(one) for one in found]
    raise WireError(f"has something else where {key} is a list")


def _number(document: Json, *keys: str) -> int:
    """The first of the keys that is there, as a number; 0 if none is."""
    found = next((document[key] for key in keys if key in document), 0)
    try:
        if isinstance(found, str | int):
            return int(found)
    except ValueError:
        pass
    raise WireError(f"has something else where {keys[0]} is a number")


def _text(document: Json, key: str) -> str:
    found = document.get(key, "")
    if isinstance(found, str):
        return found
    raise WireError(f"has something else where {key} is text")


def _truth(document: Json, key: str) -> bool:
    found = document.get(key, False)
    if isinstance(found, bool):
        return found
    raise WireError(f"has something else where {key} is true or false")


def _octets(document: Json, key: str) -> bytes:
    try:
        return base64.b64decode(_text(document, key), validate=True)
    except (binascii.Error, ValueError):
        raise WireError(f"has something else where {key} is base64") from None


def _revision(document: Json, otherwise: int = 0) -> int:
    header = _below(document, "header")
    return _number(header, "revision") if header else otherwise
