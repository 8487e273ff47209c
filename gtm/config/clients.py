"""Which clients: what `from:` says in a steering rule, in an expectation and on a command line."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

from gtm.config import codes
from gtm.config.scalars import Unfit, address, shown
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.policy import Asn, Continent, Country, Matcher, Network, Subdivision

MATCHER_ALLOWED = (
    "an address, a network (192.0.2.0/24), an AS number (AS64500), a country (BR), a subdivision (US-CA) "
    "or a continent (continent:EU)"
)
CLIENT_ALLOWED = "an address, a network (192.0.2.0/24), a country (BR) or a subdivision (US-CA)"
IPV6_LENGTH_MAX = 64  # classes tell IPv6 clients apart by the first 64 bits (RFC 7871 11.1 shortens further)

_AS = re.compile(r"AS([0-9]{1,10})", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z]{2,3}")
_SUBDIVIDED = re.compile(r"[A-Za-z]{2}-[A-Za-z0-9]{1,3}")
_DISGUISES = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/32")))


def matcher(value: object) -> Matcher:
    """The clients that one entry of a rule's `from:` means."""
    if not isinstance(value, str):
        raise Unfit(f"{shown(value)} names no clients", MATCHER_ALLOWED)
    if found := _AS.fullmatch(value):
        if not 1 <= int(found[1]) <= 0xFFFFFFFF:
            raise Unfit(f"{value} is not an AS number", "AS1 to AS4294967295")
        return Asn(asn=int(found[1]))
    if value.startswith("continent:"):
        return Continent(code=codes.continent(value.removeprefix("continent:").strip()))
    if _SUBDIVIDED.fullmatch(value):
        return Subdivision(code=codes.subdivision(value))
    if _CODE.fullmatch(value):
        if value in codes.CONTINENTS and value not in codes.COUNTRIES:
            raise Unfit(f"{value} is not a country; did you mean continent:{value}?", MATCHER_ALLOWED)
        return Country(code=codes.country(value))
    return Network(network=rule_network(value))


def client(value: object) -> IPAddress | IPNetwork | str:
    """The client that an expectation or `--from` means: an address, a network, or a country or subdivision code."""
    if isinstance(value, str):
        if _SUBDIVIDED.fullmatch(value):
            return codes.subdivision(value)
        if _CODE.fullmatch(value):
            return codes.country(value)
        if "/" in value:
            return network(value, CLIENT_ALLOWED)
        if re.fullmatch(r"[0-9A-Fa-f:.]+", value):
            return address(value)
    raise Unfit(f"{shown(value)} names no client", CLIENT_ALLOWED)


def rule_network(text: str) -> IPNetwork:
    """The network of a rule: one that clients can be seen in, and that classes can tell apart."""
    found = network(text, MATCHER_ALLOWED)
    if isinstance(found, IPv4Network):
        return found
    if any(found.subnet_of(disguise) for disguise in _DISGUISES):
        raise Unfit(f"{found} holds IPv4 clients, which are looked up by their IPv4 address", "that IPv4 network")
    if found.prefixlen > IPV6_LENGTH_MAX:
        wider = found.supernet(new_prefix=IPV6_LENGTH_MAX)
        raise Unfit(
            f"{shown(text)} is too long a prefix; did you mean {wider}?", f"IPv6 networks up to /{IPV6_LENGTH_MAX}"
        )
    return found


def network(text: str, allowed: str) -> IPNetwork:
    """The network that `text` is, host bits zero; a bare address is a network of one."""
    base, slash, length = text.partition("/")
    if "%" in text or (slash and not re.fullmatch(r"[0-9]{1,3}", length)):
        raise Unfit(f"{shown(text)} is not a network", allowed)
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise Unfit(f"{shown(text)} names no clients", allowed) from None
    if slash and address(base) != found.network_address:
        raise Unfit(f"{text} has bits set past /{length}; did you mean {found}?", allowed)
    return found
