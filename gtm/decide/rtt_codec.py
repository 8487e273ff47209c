"""Estimates as octets, for the store that nodes share: columns of numbers, compressed.

    MAGIC, then zlib of: <d base (seconds), <H regions, each <B length and name in UTF-8, <I IPv4 networks and <I
    IPv6 networks with their columns (address: I or the upper Q; length: B; number of estimates: B), then the columns of
    all estimates in that order (region: B, time and spread: I in microseconds, weight: f, samples: H, age at base: I in
    seconds)

20,000 networks with four regions each take some 850 KB, with one 250 KB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network

from gtm.decide.rtt import COUNT_MAX, RTT_MAX_S, Estimate, Regional, newest_s
from gtm.model.address import IPNetwork

MAGIC = b"GTMRTT1\0"
SIZE_MAX = 1_000_000
PLAIN_MAX = 64_000_000
REGIONS_MAX = 255
_WORD = 0xFFFFFFFF

Columns = tuple[list[float], ...]  # all but the weights are whole


class UnreadableError(ValueError):
    """Octets that are no estimates of this version."""


def dump(networks: Mapping[IPNetwork, Regional], *, size_max: int = SIZE_MAX) -> bytes:
    """The octets of these estimates, at most `size_max`: where they are more, the networks measured last."""
    chosen = sorted((item for item in networks.items() if item[1]), key=lambda item: -newest_s(item[1]))
    while True:
        octets = MAGIC + zlib.compress(_plain(chosen), 6)
        if len(octets) <= size_max or not chosen:
            return octets
        chosen = chosen[: min(int(len(chosen) * 0.95 * size_max / len(octets)), len(chosen) - 1)]


def _plain(items: list[tuple[IPNetwork, Regional]]) -> bytes:
    items = sorted(items, key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen))
    names = sorted({region for _, regions in items for region in regions})[:REGIONS_MAX]
    numbers = {name: number for number, name in enumerate(names)}
    base_s = max((newest_s(regions) for _, regions in items), default=0.0)
    parts = [struct.pack("<dH", base_s, len(names))]
    parts += [struct.pack("<B", len(encoded)) + encoded for encoded in (name.encode() for name in names)]
    columns: Columns = tuple([] for _ in range(6))
    for version, word in ((4, "I"), (6, "Q")):
        mine = [(network, regions) for network, regions in items if network.version == version]
        shift = 0 if version == 4 else 64
        parts.append(struct.pack("<I", len(mine)))
        parts.append(struct.pack(f"<{len(mine)}{word}", *(int(one.network_address) >> shift for one, _ in mine)))
        parts.append(bytes(network.prefixlen for network, _ in mine))
        parts.append(bytes(sum(name in numbers for name in regions) for _, regions in mine))
        for _, regions in mine:
            for name, one in regions.items():
                if name in numbers:
                    _append(columns, numbers[name], one, base_s)
    for code, column in zip("BIIfHI", columns, strict=True):
        parts.append(struct.pack(f"<{len(column)}{code}", *column))
    return b"".join(parts)


def _append(columns: Columns, region: int, one: Estimate, base_s: float) -> None:
    columns[0].append(region)
    columns[1].append(min(round(one.rtt_s * 1e6), _WORD))
    columns[2].append(min(round(one.spread_s * 1e6), _WORD))
    columns[3].append(one.weight)
    columns[4].append(min(one.samples, COUNT_MAX))
    columns[5].append(min(round(base_s - one.at_s), _WORD))


def load(octets: bytes) -> dict[IPNetwork, dict[str, Estimate]]:
    """The estimates in octets of `dump`; ages to a second, times to a microsecond. Raises UnreadableError."""
    if not octets.startswith(MAGIC):
        raise UnreadableError("are no estimates of round-trip times of this version")
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(octets[len(MAGIC) :], PLAIN_MAX)
        if not inflate.eof or inflate.unused_data:
            raise UnreadableError("are cut short, or too many")
        return _parse(_Cursor(plain))
    except (zlib.error, struct.error, ValueError, IndexError, OverflowError) as error:
        raise UnreadableError(f"are damaged: {error}") from error


class _Cursor:
    """Reads one thing after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def numbers(self, code: str, count: int = 1) -> tuple[int, ...]:
        """So many numbers of a struct code. Raises struct.error."""
        form = f"<{count}{code}"
        found = struct.unpack_from(form, self._octets, self._at)
        self._at += struct.calcsize(form)
        return found

    def text(self) -> str:
        """A text after its length. Raises struct.error, UnicodeDecodeError."""
        (length,) = self.numbers("B")
        (found,) = struct.unpack_from(f"{length}s", self._octets, self._at)
        self._at += length
        return str(found, "utf-8")

    def end(self) -> None:
        """Raises ValueError if something is left."""
        if self._at != len(self._octets):
            raise ValueError("more than was announced")


def _parse(cursor: _Cursor) -> dict[IPNetwork, dict[str, Estimate]]:
    base_s = float(cursor.numbers("d")[0])
    names = [cursor.text() for _ in range(cursor.numbers("H")[0])]
    networks: list[IPNetwork] = []
    counts: list[int] = []
    for version, word in ((4, "I"), (6, "Q")):
        (count,) = cursor.numbers("I")
        addresses, lengths = cursor.numbers(word, count), cursor.numbers("B", count)
        counts += cursor.numbers("B", count)
        if version == 4:
            networks += [IPv4Network(each) for each in zip(addresses, lengths, strict=True)]
        else:
            networks += [IPv6Network((top << 64, length)) for top, length in zip(addresses, lengths, strict=True)]
    rows = sum(counts)
    columns = [cursor.numbers(code, rows) for code in "BIIfHI"]
    cursor.end()
    if not abs(base_s) < 1e12 or any(not 0 <= weight < 1e12 for weight in columns[3]):
        raise ValueError("a number out of range")
    if any(rtt_us > RTT_MAX_S * 1e6 for rtt_us in columns[1]) or 0 in columns[4]:
        raise ValueError("a number out of range")
    found: dict[IPNetwork, dict[str, Estimate]] = {}
    each = zip(*columns, strict=True)
    for network, count in zip(networks, counts, strict=True):
        regions = found.setdefault(network, {})
        for _ in range(count):
            region, rtt_us, spread_us, weight, samples, age_s = next(each)
            regions[names[region]] = Estimate(rtt_us / 1e6, spread_us / 1e6, weight, samples, base_s - age_s)
    return found
