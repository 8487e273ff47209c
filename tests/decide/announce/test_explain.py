"""An announcement in words."""

from __future__ import annotations

from dataclasses import replace

from gtm.decide.announce.explain import explain
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.sight import Permit, Sight
from gtm.decide.announce.step import step
from gtm.model.anycast import Guard, Phase
from tests.decide.announce.scenes import DRAIN, TARGET, anycast, judged, other, service, speaker

SEEN = Sight(now_s=0.0, local={TARGET: judged("+++")}, others=(other("b1"),), store=True)
UP, _ = step(anycast(), speaker(), service(), Memory.initial(), SEEN)
PREFIXES = "203.0.113.0/24, 2001:db8:61::/48"


def told(memory: Memory, sight: Sight, now_s: float = 10.0) -> tuple[str, ...]:
    memory, wish = step(anycast(), speaker(), service(), memory, sight)
    return explain(anycast(), speaker(), service(), memory, wish, now_s)


def test_up() -> None:
    assert told(UP, SEEN) == (
        "web at a1 (a): UP for 10 s",
        "because: 1 local check good",
        f"announced: {PREFIXES}",
        "if nobody thinks any more: withdrawn",
    )


def test_held() -> None:
    assert told(UP, replace(SEEN, local={TARGET: judged("+++---")}, others=())) == (
        "web at a1 (a): HELD for 10 s",
        "because: web@192.0.2.1 DOWN: refused; the last PoP that announces",
        f"announced: {PREFIXES} with the treatment of DOWN, GRACEFUL_SHUTDOWN",
        "is about to leave, as far as others let it",
        "if nobody thinks any more: kept",
    )


def test_on_the_ladder() -> None:
    memory, _ = step(anycast(), speaker(), service(), UP, replace(SEEN, drain=DRAIN))
    sight = replace(SEEN, drain=DRAIN, now_s=60.0, connections=50)
    assert told(memory, sight, 60.0)[2:] == (
        f"announced: {PREFIXES}",
        "on the ladder: graceful-shutdown, then unattractive, connections, withdraw, address, at most 365 s",
        "if nobody thinks any more: withdrawn",
    )


def test_at_its_end() -> None:
    sight = replace(SEEN, drain=DRAIN, permit=Permit.HELD, local={})
    memory, _ = step(anycast(), speaker(), service(), Memory.initial(), sight)
    assert told(memory, replace(sight, now_s=5.0), 7.0) == (
        "web at a1 (a): DRAINED for 2 s",
        "because: drained by ann: new disks",
        f"not announced: {PREFIXES}; addresses removed",
        "on the ladder: address",
    )


def test_damped() -> None:
    damped = replace(UP, phase=Phase.DOWN, announcing=False, penalty=4000.0, suppressed=True)
    assert told(damped, SEEN, 0.0)[1:] == (
        "because: damped: it fell too often",
        f"not announced: {PREFIXES}",
        "damped: penalty 4000, announced again below 1000, in 120 s at best",
    )
    memory, wish = step(anycast(), speaker(), service(), damped, SEEN)
    undamped = anycast(guard=Guard(damping=None))
    assert len(explain(undamped, speaker(), service(), memory, wish, 0.0)) == 3


def test_asking() -> None:
    lines = told(UP, replace(SEEN, local={TARGET: judged("+++-")}))
    assert "is about to leave, asks for the permit" in lines
