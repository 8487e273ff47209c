"""Allow and deny lists as the guard reads them: two bits for a network of 24 and of 20 bits, hosts, longer networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import MULTIPLIER
from gtm.model.address import IPNetwork
from gtm.publish.dataplane import guard_layout as layout

TOP_BITS, SUMMARY_BITS = 24, 20
HOSTS_PER_LINE = 5  # on average, at most: then one line of 10,000 is too short for its hosts
Classes = dict[tuple[int, int], int]  # class by network: its first bits, and how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """One family's lists: 2^24 and 2^20 classes of two bits in 64 and 4 pages; IPv4's hosts in lines, a power of two of
    them; and the trie of what else is longer than 24 bits.
    """

    pages: NDArray[np.void]
    hosts: NDArray[np.void]
    keys: NDArray[np.void]
    values: NDArray[np.uint32]

    @property
    def empty(self) -> bool:
        """Whether nothing is listed."""
        return not self.pages["word"].any()

    @property
    def allows(self) -> bool:
        """Whether anybody is allowed."""
        words = self.pages["word"]
        half = words & np.uint64(0x5555555555555555)  # DENIED is 1, LISTED_ALLOWED 2, FURTHER both
        upper = words >> np.uint64(1) & np.uint64(0x5555555555555555)
        odd = self.hosts["classes"] & np.uint32(0xAAAAAAAA)
        return bool((upper & ~half).any() or odd.any() or (self.values == layout.LISTED_ALLOWED).any())


def compile4(allow: Iterable[IPNetwork], deny: Iterable[IPNetwork]) -> Lists:
    """The lists of IPv4; networks of the other family are left out. Where both name a source, it is allowed."""
    classes = _classes(
        (each for each in allow if isinstance(each, IPv4Network)),
        (each for each in deny if isinstance(each, IPv4Network)),
    )
    return _compile(classes, 32, layout.TRIE4)


def compile6(allow: Iterable[IPNetwork], deny: Iterable[IPNetwork]) -> Lists:
    """The lists of IPv6; networks of the other family are left out. Where both name a source, it is allowed."""
    classes = _classes(
        (each for each in allow if isinstance(each, IPv6Network)),
        (each for each in deny if isinstance(each, IPv6Network)),
    )
    return _compile(classes, 128, layout.TRIE6)


def _classes(allow: Iterable[IPNetwork], deny: Iterable[IPNetwork]) -> Classes:
    """Networks such that the longest that has an address says what it is: denied ones within allowed ones are gone."""
    found: Classes = {_key(network): layout.LISTED_ALLOWED for network in allow}
    lengths = sorted({length for _, length in found})
    for network in deny:
        bits, length = _key(network)
        if not any((bits >> length - shorter, shorter) in found for shorter in lengths if shorter <= length):
            found[bits, length] = layout.DENIED
    return found


def _key(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address) >> network.max_prefixlen - network.prefixlen, network.prefixlen


def _compile(found: Classes, width: int, key: np.dtype[np.void]) -> Lists:
    classes = np.zeros(1 << TOP_BITS, np.uint8)
    short = sorted((each for each in found if each[1] <= TOP_BITS), key=lambda each: each[1])
    for bits, length in short:
        first = bits << TOP_BITS - length
        classes[first : first + (1 << TOP_BITS - length)] = found[bits, length]
    longer = {each: found[each] for each in found if each[1] > TOP_BITS}
    for top in {bits >> length - TOP_BITS for bits, length in longer}:
        if classes[top]:
            longer[top, TOP_BITS] = int(classes[top])  # so that the trie alone is right about this network
        classes[top] = layout.FURTHER
    under = classes.reshape(1 << SUMMARY_BITS, -1)
    summary = np.where((under == under[:, :1]).all(axis=1), under[:, 0], layout.FURTHER).astype(np.uint8)
    hosts = {bits: each for (bits, length), each in longer.items() if length == width == 32}
    lines, held = _host_lines(hosts)
    for bits in held:
        del longer[bits, width]
    keys = np.zeros(len(longer), key)
    for at, (bits, length) in enumerate(longer):
        keys[at] = length, (bits << width - length).to_bytes(width // 8, "big")
    fours = np.concatenate((classes, summary)).reshape(-1, 4)
    packed = fours[:, 0] | fours[:, 1] << 2 | fours[:, 2] << 4 | fours[:, 3] << 6
    return Lists(
        pages=packed.view(layout.PAGE),
        hosts=lines,
        keys=keys,
        values=np.fromiter(longer.values(), np.uint32, len(longer)),
    )


def _host_lines(hosts: dict[int, int]) -> tuple[NDArray[np.void], list[int]]:
    """The lines that the program finds hosts in, and those that found room there."""
    lines = np.zeros(1 << max(0, -(-len(hosts) // HOSTS_PER_LINE) - 1).bit_length(), layout.HOSTS)
    numbers = np.fromiter(hosts, np.uint32, len(hosts))
    classes = np.fromiter(hosts.values(), np.uint32, len(hosts))
    wire = numbers.byteswap()
    hashed = wire.astype(np.uint64) * np.uint64(MULTIPLIER)
    line = ((hashed ^ hashed >> np.uint64(32)) & np.uint64(len(lines) - 1)).astype(np.int64)
    order = np.argsort(line, kind="stable")
    line = line[order]
    at = np.arange(len(line)) - np.searchsorted(line, line)
    room = at < layout.HOSTS_IN_LINE
    line, at, order = line[room], at[room], order[room]
    lines["address"][line, at] = wire[order]
    np.bitwise_or.at(lines["classes"], line, classes[order] << (2 * at).astype(np.uint32))
    return lines, numbers[order].tolist()
