"""The table of phases: what is in it, and that what is not in it cannot happen."""

from __future__ import annotations

import pytest

from gtm.decide.announce.phase import TABLE, PhaseError, moved
from gtm.model.anycast import Phase

# One row for each phase, one column for each that it may become, in the order of the enum.
GOLDEN = """
            INIT RISING UP FALLING DOWN DISABLED DRAINING DRAINED HELD
INIT        .    x      .  .       x    x        x        .       .
RISING      .    .      x  x       x    x        x        .       .
UP          .    .      .  x       .    x        x        .       .
FALLING     .    .      x  .       x    x        x        .       x
DOWN        .    x      .  .       .    x        x        .       x
DISABLED    .    x      .  .       x    .        x        .       x
DRAINING    .    x      x  x       x    x        .        x       x
DRAINED     .    x      .  .       x    x        x        .       x
HELD        .    .      x  .       x    x        x        .       .
"""


def test_the_table_is_the_one_that_is_written_down() -> None:
    head, *rows = GOLDEN.strip().splitlines()
    columns = [Phase(word) for word in head.split()]
    assert columns == list(Phase)
    drawn = {}
    for row in rows:
        name, *marks = row.split()
        drawn[Phase(name)] = {after for after, mark in zip(columns, marks, strict=True) if mark == "x"}
    assert drawn == TABLE


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_what_is_not_in_the_table_is_refused(before: Phase, after: Phase) -> None:
    if after is before or after in TABLE[before]:
        assert moved(before, after) is after
    else:
        with pytest.raises(PhaseError, match=f"{before} cannot become {after}"):
            moved(before, after)


def test_nothing_is_announced_by_rising_alone_and_nobody_returns_to_init() -> None:
    assert not any(Phase.INIT in afters for afters in TABLE.values())
    assert Phase.UP not in TABLE[Phase.INIT]
    assert Phase.UP not in TABLE[Phase.DOWN]
    assert Phase.DOWN not in TABLE[Phase.UP]  # FALLING is where the guard is asked
