"""Routes to ExaBGP's commands. Each names its neighbour, so that each neighbour has attributes of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.route import Attributes, Community, ExtendedCommunity, ExtendedKind, LargeCommunity, Route

U16, U32 = 0xFFFF, 0xFFFFFFFF
COMMUNITIES_MAX = 128  # of one kind: an UPDATE has 4,096 octets
PATH_MAX = 64


def key(route: Route) -> str:
    """What tells a route from others: neighbour, prefix, path identifier. A newer one of the same key replaces it."""
    path = "" if route.path_id is None else f" {route.path_id}"
    return f"{route.neighbour} {route.prefix}{path}"


def announce(route: Route) -> str:
    """The command that announces a route. Raises ValueError that says what is wrong with it, and what is allowed."""
    check(route)
    return " ".join((_head(route, "announce"), *_attributes(route.attributes), *_path(route)))


def withdraw(route: Route) -> str:
    """The command that withdraws a route; its attributes do not matter (RFC 4271 section 4.3). Raises ValueError."""
    return " ".join((_head(route, "withdraw"), f"next-hop {_next_hop(route.attributes.next_hop)}", *_path(route)))


def check(route: Route) -> None:
    """Nothing for a route that may be sent. Raises ValueError for one that must not be."""
    one = route.attributes
    if one.next_hop is None and route.prefix.version != route.neighbour.version:
        # ExaBGP refuses it: the session has no address of that family.
        raise ValueError(f"{route.prefix} to {route.neighbour} needs a next hop (allowed: an IPv6 address)")
    if one.next_hop is not None and one.next_hop.version != route.prefix.version:
        raise ValueError(f"{one.next_hop} cannot be the next hop of {route.prefix} (allowed: the same family)")
    if one.next_hop is not None and (one.next_hop.is_unspecified or one.next_hop.is_multicast):
        raise ValueError(f"{one.next_hop} cannot be a next hop (allowed: the address of a host)")
    for name, number in (("MED", one.med), ("local preference", one.local_pref), ("path identifier", route.path_id)):
        if number is not None:
            _within(name, number, U32)
    if len(one.as_path) > PATH_MAX:
        raise ValueError(f"an AS path of {len(one.as_path)} is too long (allowed: {PATH_MAX})")
    for asn in one.as_path:
        _within("AS number", asn, U32, least=1)
    _check_communities(one)


def _check_communities(one: Attributes) -> None:
    every: tuple[tuple[object, ...], ...]
    every = (one.communities.standard, one.communities.extended, one.communities.large)
    for found in every:
        if len(found) > COMMUNITIES_MAX:
            raise ValueError(f"{len(found)} communities of one kind are too many (allowed: {COMMUNITIES_MAX})")
    for standard in one.communities.standard:
        _numbers("community", standard, standard, U16)
    for large in one.communities.large:
        _numbers("large community", large, large, U32)
    for extended in one.communities.extended:
        _check_extended(extended)


def _check_extended(one: ExtendedCommunity) -> None:
    """Two-octet AS with four octets of value, or four-octet AS or address with two (RFC 4360, RFC 5668)."""
    if one.kind is ExtendedKind.BANDWIDTH:
        if isinstance(one.administrator, IPv4Address):
            raise ValueError(f"extended community {one}: link bandwidth is of an AS (allowed: 0 to {U16})")
        _numbers("extended community", one, (one.administrator,), U16)
        _numbers("extended community", one, (one.value,), 2**53)
        return
    wide = isinstance(one.administrator, IPv4Address) or one.administrator > U16
    if not isinstance(one.administrator, IPv4Address):
        _numbers("extended community", one, (one.administrator,), U32)
    _numbers("extended community", one, (one.value,), U16 if wide else U32)


def _numbers(what: str, item: object, numbers: Iterable[int], most: int) -> None:
    for number in numbers:
        if not 0 <= number <= most:
            raise ValueError(f"{what} {item}: {number} is out of range (allowed: 0 to {most})")


def _within(what: str, number: int, most: int, *, least: int = 0) -> None:
    if not least <= number <= most:
        raise ValueError(f"{what} {number} is out of range (allowed: {least} to {most})")


def _head(route: Route, verb: str) -> str:
    return f"neighbor {_plain(route.neighbour)} {verb} route {_plain(route.prefix)}"


def _path(route: Route) -> tuple[str, ...]:
    return () if route.path_id is None else (f"path-information {IPv4Address(route.path_id)}",)


def _next_hop(address: IPAddress | None) -> str:
    return "self" if address is None else _plain(address)


def _plain(item: IPAddress | IPNetwork) -> str:
    """In writing, without a zone (RFC 4007): ExaBGP knows none, and Python lets one be any text, even another line."""
    text = str(item)
    if "%" in text:
        raise ValueError(f"{text!r} has a zone (allowed: a plain address)")
    return text


def _attributes(one: Attributes) -> Iterator[str]:
    yield f"next-hop {_next_hop(one.next_hop)}"
    if one.med is not None:
        yield f"med {one.med}"
    if one.local_pref is not None:
        yield f"local-preference {one.local_pref}"
    if one.as_path:
        yield f"as-path [ {_list(one.as_path)} ]"
    if one.communities.standard:
        yield f"community [ {_list(one.communities.standard)} ]"
    if one.communities.large:
        yield f"large-community [ {_list(one.communities.large)} ]"
    if one.communities.extended:
        yield f"extended-community [ {_list(map(_extended, one.communities.extended))} ]"


def _extended(one: ExtendedCommunity) -> str:
    """In its eight octets: ExaBGP 4.2 gets addresses wrong in words, and 5.0 AS numbers of four octets."""
    administrator = one.administrator
    if one.kind is ExtendedKind.BANDWIDTH:
        return str(one)
    subtype = 0x02 if one.kind is ExtendedKind.TARGET else 0x03
    if isinstance(administrator, IPv4Address):
        return f"0x01{subtype:02x}{int(administrator):08x}{one.value:04x}"
    if administrator > U16:
        return f"0x02{subtype:02x}{administrator:08x}{one.value:04x}"
    return f"0x00{subtype:02x}{administrator:04x}{one.value:08x}"


def _list(items: Iterable[int | str | Community | LargeCommunity]) -> str:
    return " ".join(map(str, items))
