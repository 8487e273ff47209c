"""Whether RPKI calls a route valid: validation of a prefix and its origin AS against VRPs (RFC 6811).

A VRP stands in a dictionary under one number made of its prefix, so a look-up costs one read for each length that
occurs, whatever the number of VRPs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from gtm.model.address import IPNetwork
from gtm.model.anycast import Service, Speaker

ASN_MAX = (1 << 32) - 1
_BITS = {4: 32, 6: 128}


class Validity(StrEnum):
    """The three outcomes of RFC 6811 section 2."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_FOUND = "not-found"


class Vrp(NamedTuple):
    """A validated ROA payload: `asn` may originate what is within `prefix`, up to `length_max`. AS 0 is nobody."""

    prefix: IPNetwork
    length_max: int
    asn: int

    def __str__(self) -> str:
        return f"{self.prefix} up to /{self.length_max} by AS{self.asn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What VRPs say of a route, and the ones that cover it, the shortest prefix first."""

    validity: Validity
    covering: tuple[Vrp, ...] = ()


# By a leading 1 and the prefix's bits: the AS and, in the lowest eight bits, the greatest length of each VRP. Tuples of
# numbers are nothing that the garbage collector would walk through.
_Payloads = dict[int, tuple[int, ...]]


class Vrps:
    """A set of VRPs that is asked and never changed."""

    __slots__ = ("_by_version", "_lengths", "count")

    def __init__(self, rows: Iterable[tuple[str, int, int]]) -> None:
        """Of (prefix as text, length_max, asn), as a validator's export has them.

        Raises ValueError for the first row that is no VRP: half a list must never pass for a whole one.
        """
        self._by_version: dict[int, _Payloads] = {4: {}, 6: {}}
        self.count = 0
        for text, length_max, asn in rows:
            self._add(text, length_max, asn)
        self._lengths = {
            version: tuple(sorted({key.bit_length() - 1 for key in payloads}))
            for version, payloads in self._by_version.items()
        }

    def _add(self, text: str, length_max: int, asn: int) -> None:
        version, bits, length = _parse(text)
        if not (length <= length_max <= _BITS[version] and 0 <= asn <= ASN_MAX):
            raise ValueError(f"{text} up to /{length_max} by AS{asn} is not a VRP")
        key = (1 << length) | bits >> (_BITS[version] - length)
        payloads = self._by_version[version]
        payload = asn << 8 | length_max
        found = payloads.get(key, ())
        if payload not in found:
            payloads[key] = (*found, payload)
            self.count += 1

    def validate(self, prefix: IPNetwork, asn: int) -> Finding:
        """What becomes of `prefix` with origin AS `asn` (RFC 6811 section 2), with the VRPs that cover it."""
        length, width = prefix.prefixlen, _BITS[prefix.version]
        payloads = self._by_version[prefix.version]
        key = (1 << length) | int(prefix.network_address) >> (width - length)
        covering = []
        valid = False
        for shorter in self._lengths[prefix.version]:
            if shorter > length:
                break
            for payload in payloads.get(key >> (length - shorter), ()):
                length_max, holder = payload & 0xFF, payload >> 8
                covering.append(Vrp(_network(prefix, shorter), length_max, holder))
                valid = valid or (length <= length_max and holder == asn and holder != 0)
        if not covering:
            return Finding(validity=Validity.NOT_FOUND)
        return Finding(validity=Validity.VALID if valid else Validity.INVALID, covering=tuple(covering))


def preflight(vrps: Vrps, speaker: Speaker, service: Service) -> dict[IPNetwork, Finding]:
    """What RPKI says of each of the service's prefixes as this speaker originates them: the worst of its origins."""
    origins = sorted({each.local_asn for each in speaker.neighbours}) or [speaker.asn]
    worst = (Validity.INVALID, Validity.NOT_FOUND, Validity.VALID)
    return {
        prefix: min((vrps.validate(prefix, asn) for asn in origins), key=lambda one: worst.index(one.validity))
        for prefix in service.prefixes
    }


def _network(prefix: IPNetwork, length: int) -> IPNetwork:
    return prefix.supernet(new_prefix=length)


def _parse(text: str) -> tuple[int, int, int]:
    """Version, address as a number, and length. Raises ValueError, also for bits after the length."""
    address, _, length = text.partition("/")
    try:
        # Looking up four texts costs a sixth of what IPv4Network does, which counts at 400,000 of them.
        one, two, three, four = address.split(".")
        bits = _OCTETS[one] << 24 | _OCTETS[two] << 16 | _OCTETS[three] << 8 | _OCTETS[four]
        if not bits & _AFTER[length]:
            return 4, bits, _OCTETS[length]
    except (ValueError, KeyError):
        pass  # not four octets and a length, so an IPv6 network, or a fault that the library has words for
    network = IPv6Network(text) if ":" in text else IPv4Network(text)
    return network.version, int(network.network_address), network.prefixlen


_OCTETS = {str(number): number for number in range(256)}
_AFTER = {str(length): 0xFFFFFFFF >> length for length in range(33)}  # the bits after a length
