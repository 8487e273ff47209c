"""Single values of deployment files and command lines -> typed objects; or Unfit, which says what is allowed."""

from __future__ import annotations

import math
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from gtm.model.address import Endpoint, IPAddress, IPNetwork

SHOWN_MAX = 60  # characters of a wrong value that a message repeats

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
_INTERFACE = re.compile(r"[A-Za-z0-9._:@-]{1,15}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


class Unfit(ValueError):
    """A value that does not fit: what is wrong with it, and what is allowed."""

    def __init__(self, message: str, allowed: str | None = None) -> None:
        super().__init__(message if allowed is None else f"{message} (allowed: {allowed})")
        self.message = message
        self.allowed = allowed


def shown(value: object) -> str:
    """A wrong value as a message repeats it: what it is and, where short enough, itself."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"'{value}'" if len(value) <= SHOWN_MAX else f"'{value[:SHOWN_MAX]}...'"
        case tuple() | list():
            return "a list"
        case _:
            return "a mapping (key: value)"


def seconds(value: object) -> float:
    """A duration in seconds: a number of seconds, or a text like 500ms, 10s, 1.5m, 1h, 7d."""
    allowed = "seconds, or a number with ms, s, m, h or d such as 500ms or 10s"
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unfit(f"{shown(value)} is not a duration", allowed)
    return round(float(found[1]) * _UNIT_S[found[2] or "s"], 6)


def share(value: object) -> float:
    """A share from 0 to 1: a percentage as text ("35%") or the number itself (0.35)."""
    allowed = "0% to 100%, or a number from 0 to 1"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= 1:
            return float(value)
        hint = f"; did you mean {value}%?" if 1 < value <= 100 else ""
        raise Unfit(f"{shown(value)} is not a share{hint}", allowed)
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) > 100:
        raise Unfit(f"{shown(value)} is not a share", allowed)
    return round(float(found[1]) / 100, 9)


def endpoint(value: object, *, port_min: int = 1) -> Endpoint:
    """An address and port: "127.0.0.1:53" or "[::1]:53"."""
    allowed = 'ADDRESS:PORT such as 127.0.0.1:5300 or "[::1]:5300"'
    found = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unfit(f"{shown(value)} is not an address and port", allowed)
    where = address(found[1] or found[2])
    if (where.version == 6) != bool(found[1]):
        raise Unfit(f"{shown(value)} is not an address and port", allowed)
    port = int(found[3])
    if not port_min <= port <= 65535:
        raise Unfit(f"port {port} is out of range", f"{port_min} to 65535")
    return Endpoint(address=where, port=port)


def address(value: object) -> IPAddress:
    """An IPv4 or IPv6 address, without a zone index ("%eth0")."""
    if isinstance(value, str) and "%" not in value:
        try:
            return ip_address(value)
        except ValueError:
            pass
    raise Unfit(f"{shown(value)} is not an IP address", "an IPv4 or IPv6 address")


def unicast(value: object) -> IPAddress:
    """An address that a client can connect to: not unspecified, multicast, broadcast or v4-mapped."""
    found = address(value)
    if found.is_unspecified or found.is_multicast or found == IPv4Address("255.255.255.255"):
        raise Unfit(f"{found} is not an address that a client can connect to", "a unicast address")
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        raise Unfit(f"{found} is an IPv4 address in disguise; did you mean {found.ipv4_mapped}?", "a unicast address")
    return found


def ipv4(value: object) -> IPv4Address:
    """A unicast IPv4 address."""
    found = unicast(value)
    if isinstance(found, IPv4Address):
        return found
    raise Unfit(f"{found} is an IPv6 address; it belongs under aaaa", "an IPv4 address")


def ipv6(value: object) -> IPv6Address:
    """A unicast IPv6 address."""
    found = unicast(value)
    if isinstance(found, IPv6Address):
        return found
    raise Unfit(f"{found} is an IPv4 address; it belongs under a", "an IPv6 address")


def network(value: object) -> IPNetwork:
    """A network as ADDRESS/LENGTH without host bits; an address alone is a network of one."""
    allowed = "an address, or a network such as 198.51.100.0/24 or 2001:db8::/32"
    if isinstance(value, str) and "%" not in value:
        try:
            loose = ip_network(value, strict=False)
        except ValueError:
            raise Unfit(f"{shown(value)} is not a network", allowed) from None
        if "/" not in value or value.partition("/")[2] == str(loose.prefixlen):
            try:
                return ip_network(value)
            except ValueError:
                raise Unfit(f"{value} has host bits; did you mean {loose}?", allowed) from None
    raise Unfit(f"{shown(value)} is not a network", allowed)


def interface_name(value: object) -> str:
    """The name of a network interface."""
    if isinstance(value, str) and _INTERFACE.fullmatch(value) and value not in {".", ".."}:
        return value
    raise Unfit(f"{shown(value)} is not an interface", "its name, such as lo")


def mac(value: object) -> bytes:
    """The six octets of a MAC address of one machine (not of a group)."""
    found = bytes.fromhex(value.replace(":", "")) if isinstance(value, str) and _MAC.fullmatch(value) else b""
    if found and not found[0] & 1 and any(found):
        return found
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} is not a MAC address of a machine{hint}", "one such as 02:00:5e:10:00:01")
