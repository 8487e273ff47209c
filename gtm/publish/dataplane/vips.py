"""Where VIPs stand in the kernel's table: in one of two buckets each, of two places, by a keyed hash.

A new one whose buckets are both taken has others move to their second bucket (cuckoo hashing: Pagh and Rodler 2004;
two choices of buckets of two fill to 89 %: Dietzfelbinger and Weidling 2007). What moves is copied first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from struct import unpack

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import Vip, mix
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.servers import Full

VipKey = tuple[bytes, int, int]  # address of 16 bytes, port, protocol
Place = tuple[int, int]  # bucket, which of its two

NOTHING: np.void = np.zeros(1, layout.VIP)[0]


@dataclass(frozen=True, slots=True)
class Step:
    """An entry to be written. `again`: elsewhere it stands as well, until the next step, since readers look twice."""

    place: Place
    entry: np.void
    again: bool = False


@dataclass(frozen=True, slots=True)
class Arranged:
    """The steps from one table to another, in their order; the `numbers` of counters that VIPs take up."""

    steps: tuple[Step, ...]
    numbers: tuple[int, ...]


def arrange(standing: NDArray[np.void], vips: Mapping[VipKey, Vip], seed: tuple[int, int]) -> Arranged:
    """What brings a table to these VIPs; each that stays keeps its number, and is found all the while. Raises Full."""
    keys = dict(occupied(standing))
    numbers = {key: int(standing["vip"][place]["number"]) for place, key in keys.items()}
    steps: list[Step] = []
    at: dict[VipKey, Place] = {}
    for place, key in tuple(keys.items()):
        if key in vips and key not in at and place[0] in buckets(key, seed):
            at[key] = place
            wanted = entry_of(key, vips[key], numbers[key])
            if standing["vip"][place] != wanted:
                steps.append(Step(place, wanted))
        else:
            del keys[place]
            steps.append(Step(place, NOTHING))
    unused = iter(sorted(set(range(layout.VIPS)) - {numbers[key] for key in vips if key in numbers}))
    taken = []
    for key in (each for each in vips if each not in at):
        path = _path(keys, key, seed)
        for source, target in zip(path[-2::-1], path[:0:-1], strict=True):
            moved = keys[target] = keys[source]
            steps.append(Step(target, entry_of(moved, vips[moved], numbers[moved]), again=True))
        keys[path[0]] = key
        if key not in numbers:
            numbers[key] = next(unused)
            taken.append(numbers[key])
        steps.append(Step(path[0], entry_of(key, vips[key], numbers[key])))
    return Arranged(tuple(steps), tuple(taken))


def occupied(table: NDArray[np.void]) -> Iterator[tuple[Place, VipKey]]:
    """Each entry's place and key."""
    for bucket, at in zip(*(found.tolist() for found in np.nonzero(table["vip"]["protocol"])), strict=True):
        yield (bucket, at), key_of(table["vip"][bucket, at])


def find(table: NDArray[np.void], key: VipKey, seed: tuple[int, int]) -> np.void | None:
    """The entry of a VIP; None where it has none."""
    for place in product(buckets(key, seed), range(2)):
        entry: np.void = table["vip"][place]
        if entry["protocol"] and key_of(entry) == key:
            return entry
    return None


def buckets(key: VipKey, seed: tuple[int, int]) -> tuple[int, int]:
    """The two buckets that a VIP can be in."""
    address, port, protocol = key
    low, high = unpack("<QQ", address)
    wire_port = int.from_bytes(port.to_bytes(2, "big"), "little")
    hashed = mix(mix(mix(seed[0], high), low ^ (protocol << 16 | wire_port)), 1)
    return hashed % layout.VIP_BUCKETS, (hashed >> 32) % layout.VIP_BUCKETS


def key_of(entry: np.void) -> VipKey:
    """(address of 16 bytes, port, protocol) of an entry."""
    return entry["address"].tobytes(), int(entry["port"]), int(entry["protocol"])


def entry_of(key: VipKey, vip: Vip, number: int) -> np.void:
    """The record of a VIP whose counters have this number."""
    entry: np.void = np.zeros(1, layout.VIP)[0]
    entry["address"], entry["port"], entry["protocol"] = key
    entry["ring"], entry["flags"], entry["number"] = vip.ring, layout.VIP_TRACK * vip.track, number
    entry["quic"] = sum(size << 4 * rotation for rotation, size in vip.quic.items())
    return entry


def _path(keys: Mapping[Place, VipKey], new: VipKey, seed: tuple[int, int]) -> list[Place]:
    """The shortest way to a free place: the first is for the new one, and each on it moves to the next. Raises Full."""
    came: dict[int, Place | None] = dict.fromkeys(buckets(new, seed))
    waiting = deque(came)
    while waiting:
        bucket = waiting.popleft()
        for at in range(2):
            key = keys.get((bucket, at))
            if key is None:
                path, before = [(bucket, at)], came[bucket]
                while before is not None:
                    path.append(before)
                    before = came[before[0]]
                return path[::-1]
            for other in buckets(key, seed):
                if other not in came:
                    came[other] = (bucket, at)
                    waiting.append(other)
    raise Full
