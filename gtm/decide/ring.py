"""Weighted rings: turn weights into slots, so that a uniform slot number gives each instance its exact share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from math import gcd

SLOTS_MAX = 256  # finer splits than 1/256 are rounded to it; each slot is one ready answer


@lru_cache(maxsize=4096)
def ring(weights: tuple[int, ...], answers: int) -> tuple[tuple[int, ...], ...]:
    """Slots of a ring; each lists the `answers` distinct positions in `weights` to answer, the weighted one first.

    Weights must be positive. Shares are exact where the reduced weights sum to at most SLOTS_MAX, else rounded by the
    largest remainder to 1/SLOTS_MAX. The others of an answer are the next distinct ones round the ring.
    """
    turns = interleave(counts(weights))
    want = min(answers, len(set(turns)))
    return tuple(_take(turns, start, want) for start in range(len(turns)))


def counts(weights: Sequence[int]) -> tuple[int, ...]:
    """Slots per weight: reduced by the common divisor, and scaled to SLOTS_MAX where the sum is larger.

    The scaling is by largest remainder (Hamilton), with at least one slot for each.
    """
    divisor = reduce(gcd, weights)
    reduced = [weight // divisor for weight in weights]
    total = sum(reduced)
    if total <= SLOTS_MAX:
        return tuple(reduced)
    size = max(SLOTS_MAX, len(weights))
    spare = size - len(weights)
    exact = [weight * spare / total for weight in reduced]
    slots = [1 + int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (int(exact[i]) - exact[i], i))
    for i in by_remainder[: size - sum(slots)]:
        slots[i] += 1
    return tuple(slots)


def interleave(slots: Sequence[int]) -> tuple[int, ...]:
    """Positions spread as evenly as their slot counts allow (smooth weighted round robin, as nginx does it)."""
    total = sum(slots)
    credit = [0] * len(slots)
    turns = []
    for _ in range(total):
        credit = [have + add for have, add in zip(credit, slots, strict=True)]
        best = max(range(len(slots)), key=lambda i: (credit[i], -i))
        credit[best] -= total
        turns.append(best)
    return tuple(turns)


def _take(turns: Sequence[int], start: int, want: int) -> tuple[int, ...]:
    picked: dict[int, None] = {}
    for step in range(len(turns)):
        picked[turns[(start + step) % len(turns)]] = None
        if len(picked) == want:
            break
    return tuple(picked)
