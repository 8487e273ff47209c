"""Maglev tables: which backend each slot belongs to, alike at every instance that knows the secret.

The population of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section
3.4: each backend has its own permutation of the slots, and in turn takes its next free one. Two things are added.
Permutations come from a keyed hash of the backend's name, so that who does not know the secret cannot aim at a slot.
Turns follow weights: next is the backend with the least (slots taken / weight), the first by name among equals; with
equal weights these are the paper's rounds.

This is the plain form. gtm.publish.dataplane.maglev makes the same tables in a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heapify, heapreplace

SIZE_MAX = 65537  # GTM_RING_SLOTS
WEIGHT_MAX = 65535
PERSON = b"gtm maglev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A backend of a table: its stable name, the number that slots hold, its weight (0: it takes no slot)."""

    name: str
    number: int
    weight: int = 1


def permutation(name: str, *, secret: bytes, size: int) -> tuple[int, int]:
    """(offset, skip): the j-th choice of a backend is slot (offset + j * skip) mod `size`.

    Both from one BLAKE2b with `secret` (at most 64 bytes) as key; `size` is prime, so each skip visits every slot.
    """
    digest = blake2b(name.encode(), key=secret, digest_size=16, person=PERSON).digest()
    offset, skip = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    return offset % size, skip % (size - 1) + 1


def order(members: Sequence[Member], *, size: int) -> list[Member]:
    """Those that take part, by name. ValueError for what no table can be made of."""
    taking = sorted((member for member in members if member.weight), key=lambda member: member.name)
    if len({member.name for member in taking}) < len(taking):
        raise ValueError("two members of one name")
    if not all(0 < member.weight <= WEIGHT_MAX for member in taking):
        raise ValueError(f"a weight is not 0 to {WEIGHT_MAX}")
    if not (len(taking) <= size <= SIZE_MAX and _is_prime(size)):
        raise ValueError(f"size {size} is not a prime up to {SIZE_MAX} with a slot for each of {len(taking)} members")
    return taking


def table(members: Sequence[Member], *, secret: bytes, size: int) -> list[int]:
    """`size` slots, each a member's number; all 0 (none) where nobody takes part. ValueError as `order` says.

    Each member has its share of the slots rounded up, for which all pay in proportion: n members are short of their
    shares by no more than a part n/`size` of them. So each has a slot at least.
    """
    taking = order(members, size=size)
    slots = [0] * size
    if not taking:
        return slots
    numbers = [member.number for member in taking]
    step = [permutation(member.name, secret=secret, size=size) for member in taking]
    at = [offset for offset, _ in step]
    free = [True] * size
    for who in turns([member.weight for member in taking], size=size):
        slot, skip = at[who], step[who][1]
        while not free[slot]:
            slot = (slot + skip) % size
        free[slot] = False
        slots[slot] = numbers[who]
        at[who] = slot
    return slots


def turns(weights: Sequence[int], *, size: int) -> list[int]:
    """Whose turn each of `size` turns is: the position with the least (turns had / weight), the first among equals."""
    if len(set(weights)) == 1:
        return [turn % len(weights) for turn in range(size)]
    # Quotients of integers below 2**17 and 2**16 are equal as floats only if they are equal.
    queue = [(0.0, who, 0) for who in range(len(weights))]
    heapify(queue)
    found = []
    for _ in range(size):
        _, who, had = queue[0]
        found.append(who)
        heapreplace(queue, ((had + 1) / weights[who], who, had + 1))
    return found


def _is_prime(size: int) -> bool:
    return size > 2 and all(size % factor for factor in range(2, int(size**0.5) + 1))
