"""Communities, AS numbers and prefixes as people write them (RFC 1997, RFC 4360, RFC 8092)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_network

from gtm.config.nearby import did_you_mean
from gtm.config.scalars import Unfit, shown
from gtm.model.address import IPNetwork
from gtm.model.route import WELL_KNOWN, Communities, Community, ExtendedCommunity, ExtendedKind, LargeCommunity

U16, U32 = 0xFFFF, 0xFFFFFFFF
FORMS = f"65000:1, 64496:1:2, target:64496:1, origin:64496:1, bandwidth:64496:BYTES, or one of {', '.join(WELL_KNOWN)}"
RESERVED_ASNS = frozenset((0, 23456, 65535, U32))  # RFC 7607, RFC 6793, RFC 7300

AnyCommunity = Community | LargeCommunity | ExtendedCommunity

_NUMBERS = re.compile(r"[0-9]{1,10}(?::[0-9]{1,10}){1,2}")
_EXTENDED = re.compile(r"([a-z]+):([0-9]{1,10}|[0-9.]{7,15}):([0-9]{1,15})")
_ASN = re.compile(r"(?:AS)?([0-9]{1,10})")


def community(value: object) -> AnyCommunity:
    """The community of any kind that a text means."""
    if not isinstance(value, str):
        raise Unfit(f"{shown(value)} is not a community", FORMS)
    if value in WELL_KNOWN:
        return WELL_KNOWN[value]
    if _NUMBERS.fullmatch(value):
        return _numbers(value)
    if found := _EXTENDED.fullmatch(value):
        return _extended(value, found[1], found[2], int(found[3]))
    raise Unfit(f"{shown(value)} is not a community{did_you_mean(value, WELL_KNOWN)}", FORMS)


def _numbers(text: str) -> Community | LargeCommunity:
    numbers = tuple(map(int, text.split(":")))
    if len(numbers) == 3:
        if max(numbers) > U32:
            raise Unfit(f"{text} is too large for a large community", f"three numbers up to {U32} (RFC 8092)")
        return LargeCommunity(*numbers)
    if max(numbers) > U16:
        hint = "; an AS number above 65535 needs a large community: AS:NUMBER:NUMBER" if numbers[0] > U16 else ""
        raise Unfit(f"{text} is too large for a community{hint}", f"two numbers up to {U16} (RFC 1997)")
    return Community(*numbers)


def _extended(text: str, kind: str, administrator: str, value: int) -> ExtendedCommunity:
    if kind not in tuple(ExtendedKind):
        raise Unfit(f"{kind} is no kind of extended community{did_you_mean(kind, ExtendedKind)}", FORMS)
    if kind == ExtendedKind.BANDWIDTH:
        if not administrator.isdigit() or int(administrator) > U16:
            raise Unfit(f"{text} is too large", f"bandwidth:AS:BYTES, the AS up to {U16}, BYTES a second")
        return ExtendedCommunity(ExtendedKind.BANDWIDTH, int(administrator), value)
    if administrator.isdigit():
        high, low = int(administrator), U32 if int(administrator) <= U16 else U16
        if high > U32 or value > low:
            raise Unfit(f"{text} is too large", f"an AS up to {U16} with up to {U32}, or up to {U32} with up to {U16}")
        return ExtendedCommunity(ExtendedKind(kind), high, value)
    try:
        address = IPv4Address(administrator)
    except ValueError:
        raise Unfit(f"{administrator} is neither an AS number nor an IPv4 address", FORMS) from None
    if value > U16:
        raise Unfit(f"{text} is too large", f"with an IPv4 address, up to {U16}")
    return ExtendedCommunity(ExtendedKind(kind), address, value)


def gathered(found: Iterable[AnyCommunity]) -> Communities:
    """Communities by kind, sorted and once."""
    kinds: dict[type[AnyCommunity], list[AnyCommunity]] = {Community: [], LargeCommunity: [], ExtendedCommunity: []}
    for each in found:
        kinds[type(each)].append(each)
    return Communities() | Communities(
        standard=tuple(each for each in kinds[Community] if isinstance(each, Community)),
        extended=tuple(each for each in kinds[ExtendedCommunity] if isinstance(each, ExtendedCommunity)),
        large=tuple(each for each in kinds[LargeCommunity] if isinstance(each, LargeCommunity)),
    )


def asn(value: object) -> int:
    """An AS number, as a number or as a text such as AS64500 (RFC 6793)."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    found = _ASN.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[1]) > U32:
        raise Unfit(f"{shown(value)} is not an AS number", f"1 to {U32 - 1}, such as 64500")
    if int(found[1]) in RESERVED_ASNS:
        raise Unfit(f"AS {found[1]} is reserved", "an AS number of your own, or a private one: 64512 to 65534")
    return int(found[1])


def prefix(value: object) -> IPNetwork:
    """A prefix that can be announced: ADDRESS/LENGTH without host bits, of unicast addresses."""
    allowed = "a prefix such as 203.0.113.0/24 or 2001:db8:61::/48"
    if not isinstance(value, str) or "/" not in value:
        raise Unfit(f"{shown(value)} is not a prefix", allowed)
    try:
        loose = ip_network(value, strict=False)
    except ValueError:
        raise Unfit(f"{shown(value)} is not a prefix", allowed) from None
    if value.partition("/")[2] != str(loose.prefixlen):
        raise Unfit(f"{shown(value)} is not a prefix", allowed)
    try:
        found = ip_network(value)
    except ValueError:
        raise Unfit(f"{value} has host bits; did you mean {loose}?", allowed) from None
    if found.prefixlen == 0:
        raise Unfit(f"{found} is a default route", allowed)
    if found.is_multicast or found.is_loopback or found.is_link_local or found.is_unspecified:
        raise Unfit(f"{found} is not routed between networks", allowed)
    return found


def allowance(value: object) -> tuple[IPNetwork, int]:
    """A prefix, and the longest that may be announced within it: PREFIX alone, or PREFIX..LENGTH."""
    allowed = "PREFIX, or PREFIX..LENGTH for more specific ones, such as 203.0.113.0/24..32"
    text, dots, length = value.partition("..") if isinstance(value, str) else ("", "", "")
    try:
        network = prefix(text if dots else value)
    except Unfit as unfit:
        raise Unfit(unfit.message, allowed) from None
    if not dots:
        return network, network.prefixlen
    if not length.isascii() or not length.isdigit() or not network.prefixlen <= int(length) <= network.max_prefixlen:
        raise Unfit(f"{shown(value)} has no such length", f"{network.prefixlen} to {network.max_prefixlen}")
    return network, int(length)
