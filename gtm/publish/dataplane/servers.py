"""QUIC-LB server IDs as the program finds them: a hash's tag and a backend's number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import mix
from gtm.publish.dataplane import layout

ServerId = tuple[int, int, bytes]  # the VIP's ring, the config rotation codepoint, the server ID of 1 to 15 octets


class Full(Exception):
    """Both buckets of a VIP, or of a server ID, are taken; another seed places them anew."""


def place_servers(
    servers: Mapping[ServerId, int], seed: tuple[int, int], standing: NDArray[np.uint64] | None = None
) -> NDArray[np.uint64]:
    """Buckets of eight words: a server ID is where it `stands`, or in the emptier of its two. Raises Full."""
    table = np.zeros((layout.SERVER_BUCKETS, 8), np.uint64)
    before = table.copy() if standing is None else standing
    missing: list[tuple[tuple[int, int], int]] = []
    for server, number in servers.items():
        hashed = server_hash(*server, seed)
        tag = hashed >> layout.FLOW_TAG_SHIFT
        choices = hashed % layout.SERVER_BUCKETS, (hashed >> 32) % layout.SERVER_BUCKETS
        for bucket in choices:
            there = np.flatnonzero(before[bucket] >> np.uint64(layout.FLOW_TAG_SHIFT) == tag)
            if len(there):
                table[bucket, there[0]] = tag << layout.FLOW_TAG_SHIFT | number
                break
        else:
            missing.append((choices, tag << layout.FLOW_TAG_SHIFT | number))
    for choices, word in missing:
        bucket = min(choices, key=lambda choice: np.count_nonzero(table[choice]))
        free = np.flatnonzero(table[bucket] == 0)
        if not len(free):
            raise Full
        table[bucket, free[0]] = word
    return table


def find_server(table: NDArray[np.uint64], server: ServerId, seed: tuple[int, int]) -> int:
    """The number of the backend of a server ID; 0 where it is nobody's."""
    hashed = server_hash(*server, seed)
    for bucket in (hashed % layout.SERVER_BUCKETS, (hashed >> 32) % layout.SERVER_BUCKETS):
        for word in table[bucket].tolist():
            if word >> layout.FLOW_TAG_SHIFT == hashed >> layout.FLOW_TAG_SHIFT:
                return int(word & layout.FLOW_BACKEND)
    return 0


def server_hash(ring: int, rotation: int, server_id: bytes, seed: tuple[int, int]) -> int:
    """64 bits of a server ID, as the program reads it: two words that end where it ends."""
    low, high = server_id[:-8], server_id[-8:]
    hashed = mix(mix(seed[1], int.from_bytes(low, "little")), int.from_bytes(high, "little"))
    return mix(hashed ^ seed[0], ring << 16 | rotation << 8 | len(server_id))
