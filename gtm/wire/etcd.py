"""What etcd v3 is asked through its JSON gateway (etcd 3.4 and newer, POST to /v3/...): requests, both ways.

Field names are those of etcd's rpc.proto. Malformed bodies raise WireError. Answers are in gtm.wire.etcd_answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from gtm.wire.error import WireError
from gtm.wire.jsonpb import Json, base64_text, below, listing, number, number_text, octets, parse, present, text, truth


class Target(StrEnum):
    """What of a key a transaction compares: its revision of creation, of the last change, or its number of changes."""

    CREATE = "CREATE"
    MOD = "MOD"
    VERSION = "VERSION"


_COMPARED = {Target.CREATE: "create_revision", Target.MOD: "mod_revision", Target.VERSION: "version"}


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
            return present(
                compare=[_compare(one) for one in request.compares],
                success=[{_REQUEST[type(one)]: _operation(one)} for one in request.success],
                failure=[{_REQUEST[type(one)]: _operation(one)} for one in request.failure],
            )
        case Grant(ttl_s=ttl_s):
            return present(TTL=number_text(ttl_s))
        case KeepAlive(lease=lease) | Revoke(lease=lease):
            return present(ID=number_text(lease))
        case Authenticate():
            return present(name=request.name, password=request.password)
        case Watch():
            return {"create_request": _span(request.key, request.range_end, start_revision=request.start_revision)}
    assert_never(request)


def _operation(request: Operation) -> Json:
    match request:
        case Put():
            return present(
                key=base64_text(request.key), value=base64_text(request.value), lease=number_text(request.lease)
            )
        case Range():
            order = {"sort_order": "DESCEND", "sort_target": "CREATE"} if request.newest_first else {}
            return {
                **_span(request.key, request.range_end, limit=request.limit),
                **present(keys_only=request.keys_only),
                **order,
            }
        case Delete():
            return _span(request.key, request.range_end)
    assert_never(request)


_REQUEST = {Put: "request_put", Range: "request_range", Delete: "request_delete_range"}


def _span(key: bytes, range_end: bytes, **numbers: int) -> Json:
    spelt = {name: number_text(number) for name, number in numbers.items()}
    return present(key=base64_text(key), range_end=base64_text(range_end), **spelt)


def _compare(one: Compare) -> Json:
    number = {_COMPARED[one.target]: number_text(one.number)}
    return {**present(key=base64_text(one.key)), "target": str(one.target), "result": "EQUAL", **present(**number)}


def decode(where: str, body: bytes) -> Request:
    """The request that a body posted to a path is. Raises WireError."""
    document = parse(body)
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
                compares=tuple(_read_compare(one) for one in listing(document, "compare")),
                success=tuple(_read_operation(one) for one in listing(document, "success")),
                failure=tuple(_read_operation(one) for one in listing(document, "failure")),
            )
        case "/v3/lease/grant":
            return Grant(ttl_s=number(document, "TTL"))
        case "/v3/lease/keepalive":
            return KeepAlive(lease=number(document, "ID"))
        case "/v3/lease/revoke":
            return Revoke(lease=number(document, "ID"))
        case "/v3/auth/authenticate":
            return Authenticate(name=text(document, "name"), password=text(document, "password"))
        case "/v3/watch":
            made = below(document, "create_request")
            start = number(made, "start_revision")
            return Watch(key=octets(made, "key"), range_end=octets(made, "range_end"), start_revision=start)
    raise WireError(f"{where[:80]!r} is no path of etcd that is used here")


def _read_put(one: Json) -> Put:
    return Put(key=octets(one, "key"), value=octets(one, "value"), lease=number(one, "lease"))


def _read_range(one: Json) -> Range:
    return Range(
        key=octets(one, "key"),
        range_end=octets(one, "range_end"),
        limit=number(one, "limit"),
        keys_only=truth(one, "keys_only"),
        newest_first=text(one, "sort_order") == "DESCEND" and text(one, "sort_target") == "CREATE",
    )


def _read_delete(one: Json) -> Delete:
    return Delete(key=octets(one, "key"), range_end=octets(one, "range_end"))


def _read_operation(one: Json) -> Operation:
    if "request_put" in one:
        return _read_put(below(one, "request_put"))
    if "request_range" in one:
        return _read_range(below(one, "request_range"))
    return _read_delete(below(one, "request_delete_range"))


def _read_compare(one: Json) -> Compare:
    try:
        target = Target(text(one, "target") or Target.VERSION)
    except ValueError:
        raise WireError("a target that is not compared here") from None
    return Compare(key=octets(one, "key"), target=target, number=number(one, _COMPARED[target]))
