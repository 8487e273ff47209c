"""The states of an announcement as an enforced table: what is not in it cannot happen.

INIT is before the first verdict, RISING and FALLING are on the way, and leave the route as it was.
"""

from __future__ import annotations

from gtm.model.anycast import Phase

TABLE: dict[Phase, frozenset[Phase]] = {
    Phase.INIT: frozenset({Phase.RISING, Phase.DOWN, Phase.DISABLED, Phase.DRAINING}),
    Phase.RISING: frozenset({Phase.UP, Phase.FALLING, Phase.DOWN, Phase.DISABLED, Phase.DRAINING}),
    Phase.UP: frozenset({Phase.FALLING, Phase.DISABLED, Phase.DRAINING}),
    Phase.FALLING: frozenset({Phase.UP, Phase.DOWN, Phase.DISABLED, Phase.DRAINING, Phase.HELD}),
    Phase.DOWN: frozenset({Phase.RISING, Phase.DISABLED, Phase.DRAINING, Phase.HELD}),
    Phase.DISABLED: frozenset({Phase.RISING, Phase.DOWN, Phase.DRAINING, Phase.HELD}),
    Phase.DRAINING: frozenset(
        {Phase.DRAINED, Phase.UP, Phase.RISING, Phase.FALLING, Phase.DOWN, Phase.DISABLED, Phase.HELD}
    ),
    Phase.DRAINED: frozenset({Phase.RISING, Phase.DOWN, Phase.DISABLED, Phase.DRAINING, Phase.HELD}),
    Phase.HELD: frozenset({Phase.UP, Phase.DOWN, Phase.DISABLED, Phase.DRAINING}),
}


class PhaseError(ValueError):
    """A transition that the table does not have: a fault of gtm itself, never of what it was told."""


def moved(before: Phase, after: Phase) -> Phase:
    """`after`, where the table allows it; staying is no transition. Raises PhaseError."""
    if after is not before and after not in TABLE[before]:
        raise PhaseError(f"{before} cannot become {after} (allowed: {', '.join(sorted(TABLE[before]))})")
    return after
