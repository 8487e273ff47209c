"""The pacer: what is published again, and what is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gtm.app.pacer import Pacer
from gtm.decide.plan import Dependents
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.health import Health, Judgement
from tests.decide.world import WWW, deployment, targets_of

UP = Judgement(health=Health.UP)
FIRST = targets_of("us-east")[0]
RANGED = deployment(replace(WWW, ttl_s=60, ttl_min_s=5))


def known(**first: int) -> dict[Target, Judgement]:
    return {target: replace(UP, **first) if target == FIRST else UP for target in RANGED.targets()}  # type: ignore[arg-type]


def looks(wanted: Deployment, now: dict[Target, Judgement]) -> bool:
    """Whether something is to be published where `known()` is what was."""
    changed = asyncio.Event()
    pace = Dependents.of(wanted).pace
    found = Pacer(lambda: pace, known, lambda: now, changed).look()
    assert changed.is_set() is found
    return found


def test_only_what_changes_a_ttl_is_published() -> None:
    assert looks(RANGED, known(streak=1, failures=1))
    assert not looks(RANGED, known())
    assert not looks(RANGED, known(history=0b101))
    assert not looks(deployment(), known(streak=1, failures=1))
    assert looks(RANGED, {FIRST: UP})  # the others have been forgotten
    assert looks(RANGED, known() | {FIRST: Judgement()})


def test_it_looks_until_it_is_cancelled() -> None:
    async def story() -> None:
        changed = asyncio.Event()
        now = known()
        pace = Dependents.of(RANGED).pace
        running = asyncio.create_task(Pacer(lambda: pace, known, lambda: now, changed).run(0.001))
        async with asyncio.timeout(30):
            now[FIRST] = replace(UP, streak=2, failures=2)
            await changed.wait()
            changed.clear()
            await changed.wait()  # as long as nobody publishes
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()

    asyncio.run(story())
