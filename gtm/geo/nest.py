"""Networks that lie inside one another, as steps: which is the innermost around an address, and what is around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gtm.geo.steps import Steps, joined
from gtm.model.address import IPNetwork

OUTSIDE = -1
LENGTH6_MAX = 64

# Where IPv4 lives inside IPv6: clients there are looked up by the IPv4 address, so these networks would never match.
_EMBEDDED = (
    ("::ffff:0:0/96", 0xFFFF << 32, 96),
    ("64:ff9b::/96", 0x64FF9B << 96, 96),
    ("2002::/16", 0x2002 << 112, 16),
    ("2001::/32", 0x2001 << 112, 32),
)


def unusable(network: IPNetwork) -> str | None:
    """Why a network cannot be told apart by the class table, or None if it can."""
    if network.version == 4:
        return None
    value = int(network.network_address)
    for text, start, length in _EMBEDDED:
        if network.prefixlen >= length and value >> 128 - length == start >> 128 - length:
            return f"clients in {text} are looked up by the IPv4 address inside: write the IPv4 network"
    if network.prefixlen > LENGTH6_MAX:
        return f"/{network.prefixlen} is too long: IPv6 clients are told apart down to /{LENGTH6_MAX}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nest:
    """Distinct networks of one family: `steps` number the innermost one around an address, OUTSIDE where there is none.

    `parents[i]` is the smallest network around network i, or OUTSIDE.
    """

    steps: Steps
    parents: tuple[int, ...]

    def around(self, number: int) -> Iterator[int]:
        """The numbers of a network and of all those around it, from the inside out."""
        while number != OUTSIDE:
            yield number
            number = self.parents[number]


def nest(networks: Sequence[IPNetwork], version: int) -> Nest:
    """The nest of distinct networks; those of the other family keep their numbers but cover nothing."""
    width = 32 if version == 4 else 64
    mine = [(start, length, i) for i, start, length in _prefixes(networks, version)]
    parents = [OUTSIDE] * len(networks)
    cuts: list[tuple[int, int]] = [(0, OUTSIDE)]
    open_: list[tuple[int, int]] = []  # (end, number) of the networks around the current address
    for start, length, number in sorted(mine):
        _close(open_, start, cuts)
        parents[number] = open_[-1][1] if open_ else OUTSIDE
        cuts.append((start, number))
        open_.append((start + (1 << width - length), number))
    _close(open_, 1 << width, cuts)
    # The last value given to an address stands; the end of the space is no address.
    final = {start: value for start, value in cuts if start < 1 << width}
    starts = np.array(sorted(final), np.uint64)
    values = np.array([final[start] for start in sorted(final)], np.int64)
    return Nest(steps=joined(width, starts, values), parents=tuple(parents))


def _close(open_: list[tuple[int, int]], until: int, cuts: list[tuple[int, int]]) -> None:
    while open_ and open_[-1][0] <= until:
        end, _ = open_.pop()
        cuts.append((end, open_[-1][1] if open_ else OUTSIDE))


def _prefixes(networks: Iterable[IPNetwork], version: int) -> Iterator[tuple[int, int, int]]:
    for i, network in enumerate(networks):
        if network.version == version:
            value = int(network.network_address)
            yield i, value if version == 4 else value >> 64, network.prefixlen
