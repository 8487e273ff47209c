"""The way down of a drain, rung by rung; lifted at any of them, the announcement is again as it was."""

from __future__ import annotations

from gtm.model.anycast import Anycast, Rung

WITHDRAW = Rung(name="withdraw", announce=False)


def rungs(anycast: Anycast) -> tuple[Rung, ...]:
    """The ladder; one that never withdraws ends with a rung that does, since that is what a drain is for."""
    ladder = anycast.ladder
    return ladder if any(not rung.announce for rung in ladder) else (*ladder, WITHDRAW)


def first_withdrawn(ladder: tuple[Rung, ...]) -> int:
    """The index of the first rung that withdraws; the ladder's length if none does."""
    return next((index for index, rung in enumerate(ladder) if not rung.announce), len(ladder))


def over(rung: Rung, passed_s: float, connections: int | None) -> bool:
    """Whether a rung that has lasted `passed_s` is done: held long enough, and few connections left, or its deadline.

    Connections that are not known are waited for until the deadline.
    """
    if passed_s < rung.hold_s:
        return False
    if rung.connections is None or (connections is not None and connections <= rung.connections):
        return True
    return rung.deadline_s is not None and passed_s >= rung.deadline_s


def next_look_s(rung: Rung, since_s: float, now_s: float) -> float | None:
    """When time alone may end a rung; None: only connections can."""
    held_s = since_s + rung.hold_s
    if now_s < held_s:
        return held_s
    return None if rung.deadline_s is None else since_s + rung.deadline_s


def eta_s(ladder: tuple[Rung, ...], rung: int, passed_s: float) -> float | None:
    """How long the rest of the ladder takes at most, from `passed_s` into a rung; None: one has no deadline."""
    total_s = 0.0
    for index in range(max(rung, 0), len(ladder)):
        length_s = longest_s(ladder[index])
        if length_s is None:
            return None
        total_s += max(0.0, length_s - (passed_s if index == rung else 0.0))
    return total_s


def longest_s(rung: Rung) -> float | None:
    """How long a rung lasts at most; None: until its connections are gone."""
    if rung.connections is None:
        return rung.hold_s
    return None if rung.deadline_s is None else max(rung.hold_s, rung.deadline_s)
