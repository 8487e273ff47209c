"""One service at one speaker at one moment: what its announcement becomes, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gtm.decide.announce import damping, guard, ladder
from gtm.decide.announce.guard import Leave, Ruling
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.phase import PhaseError, moved
from gtm.decide.announce.sight import Sight
from gtm.decide.announce.verdict import Tendency, Verdict, judge, silence_max_s
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import Anycast, Phase, Rung, Service, Speaker

MOVES_MAX = 12  # longest way through the table in one step, with room; more is a circle
ON_LADDER = frozenset({Phase.DRAINING, Phase.DRAINED, Phase.HELD})
TRUSTED = frozenset({Phase.UP, Phase.FALLING, Phase.DRAINING})
ORDERED = frozenset({Phase.DISABLED, Phase.DRAINING, Phase.DRAINED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What one step sees, worked out once."""

    anycast: Anycast
    speaker: Speaker
    service: Service
    sight: Sight
    rungs: tuple[Rung, ...]
    verdict: Verdict
    ruling: Ruling
    alone: bool
    barred: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """Where to go, or to stay: the phase, and what the memory has of it."""

    phase: Phase
    reason: str
    announcing: bool
    look: Phase = Phase.UP
    rung: int = -1
    waiting: bool = False  # it would withdraw if the guard let it


def step(anycast: Anycast, speaker: Speaker, service: Service, memory: Memory, sight: Sight) -> tuple[Memory, Wish]:
    """The memory after this moment, and what is to be true until the next.

    Total: every memory and sight has an outcome, and equal ones have the same. Orders of people come before health,
    `disabled` before a drain; whatever withdraws goes through the guard. All transitions that are due are made, each
    checked against the table, so that a second step at the same moment changes nothing. Raises PhaseError if the table
    does not have what was decided, which is a fault here.
    """
    memory = damping.released(anycast.guard.damping, _mended(memory), sight.now_s)
    scene = _scene(anycast, speaker, service, memory, sight)
    memory = _placed(scene, _judged(scene, memory))
    passed: list[Phase] = []
    move = _move(scene, memory)
    while (after := _applied(memory, move, sight.now_s)) != memory:
        if after.phase is not memory.phase:
            passed.append(after.phase)
        memory = after
        if len(passed) > MOVES_MAX:
            raise PhaseError(f"no end of {' '.join(passed)}")
        scene = replace(scene, verdict=_verdict(anycast, speaker, service, memory, sight))
        memory = _judged(scene, memory)
        move = _move(scene, memory)
    wish = _wish(scene, memory, tuple(passed), waiting=move.waiting)
    return (memory if memory.leaving is wish.leaving else replace(memory, leaving=wish.leaving)), wish


def _scene(anycast: Anycast, speaker: Speaker, service: Service, memory: Memory, sight: Sight) -> _Scene:
    return _Scene(
        anycast=anycast,
        speaker=speaker,
        service=service,
        sight=sight,
        rungs=ladder.rungs(anycast),
        verdict=_verdict(anycast, speaker, service, memory, sight),
        ruling=guard.may_leave(anycast, speaker, sight, told=sight.told and memory.leaving),
        alone=guard.alone(speaker, sight),
        barred=guard.barred(anycast, service, sight),
    )


def _verdict(anycast: Anycast, speaker: Speaker, service: Service, memory: Memory, sight: Sight) -> Verdict:
    trusted = memory.announcing and memory.look is Phase.UP and memory.phase in TRUSTED
    return judge(anycast, speaker, service, sight, trusted=trusted, proved=memory.proved)


def _judged(scene: _Scene, memory: Memory) -> Memory:
    """The memory with a change of the verdict in it: each from good to bad is a fall."""
    match scene.verdict.tendency:
        case Tendency.BAD if memory.good:
            return damping.fallen(scene.anycast.guard.damping, replace(memory, good=False), scene.sight.now_s)
        case Tendency.GOOD if not memory.good:
            return replace(memory, good=True)
        case _:
            return memory


def _mended(memory: Memory) -> Memory:
    """The memory with a phase that goes with whether the route stands, which others may know better than it did."""
    if memory.announcing and memory.phase in (Phase.INIT, Phase.DRAINED):
        return replace(memory, phase=Phase.RISING, look=Phase.UP, announced=True)
    if not memory.announcing and memory.phase in (Phase.UP, Phase.FALLING, Phase.HELD):
        return replace(memory, phase=Phase.INIT)
    return memory


def _placed(scene: _Scene, memory: Memory) -> Memory:
    """The memory with its rung on the ladder as it is now, and off it where HELD no longer is for a drain."""
    drained = scene.sight.drain is not None or scene.sight.disabled is not None or memory.phase in ORDERED
    # What is announced is above the rung that withdraws: a ladder that has become shorter is no way around the guard.
    lowest = ladder.first_withdrawn(scene.rungs) - 1 if memory.announcing else len(scene.rungs) - 1
    rung = min(memory.rung, lowest) if drained else -1
    return memory if rung == memory.rung else replace(memory, rung=rung, rung_since_s=scene.sight.now_s)


def _applied(memory: Memory, move: _Move, now_s: float) -> Memory:
    """The memory after a move; the very same where the move is to stay."""
    after = replace(
        memory,
        phase=moved(memory.phase, move.phase),
        reason=move.reason,
        announcing=move.announcing,
        announced=memory.announced or move.announcing,
        look=move.look,
        rung=move.rung,
        proved=memory.proved or move.phase in (Phase.UP, Phase.DOWN),
    )
    if after.phase is not memory.phase:
        after = replace(after, since_s=now_s)
    if memory.announcing and not after.announcing:
        after = replace(after, left_s=now_s)
    return after if after.rung == memory.rung else replace(after, rung_since_s=now_s)


def _move(scene: _Scene, memory: Memory) -> _Move:
    if scene.sight.disabled is not None:
        return _disable(scene, memory, f"disabled: {scene.sight.disabled}")
    if scene.sight.drain is not None:
        drain = scene.sight.drain
        return _drain(scene, memory, f"drained by {drain.owner}: {drain.reason}")
    if memory.phase in ORDERED:
        return _lift(scene, memory)
    return _follow(scene, memory)


def _stay(memory: Memory, reason: str) -> _Move:
    return _Move(phase=memory.phase, reason=reason, announcing=memory.announcing, look=memory.look, rung=memory.rung)


# ----------------------------------------------------------------------------------------------------- orders of people


def _disable(scene: _Scene, memory: Memory, why: str) -> _Move:
    if scene.service.withdraw_on_down:
        return _depart(scene, memory, Phase.DISABLED, why)
    return _Move(
        phase=Phase.DISABLED, reason=why, announcing=memory.announcing or scene.barred is None, look=Phase.DISABLED
    )


def _drain(scene: _Scene, memory: Memory, why: str) -> _Move:
    """The next place on the ladder: one down when it is over, or where the route ends if it leads to nothing."""
    bad = scene.verdict.tendency is Tendency.BAD
    why = f"{why}; {scene.verdict.reason}" if bad else why
    lowest = ladder.first_withdrawn(scene.rungs)
    on_ladder = memory.phase in ON_LADDER
    rung = memory.rung if on_ladder else -1
    if not memory.announcing:
        if on_ladder and _comes_back(scene, memory):
            return _Move(phase=Phase.HELD, reason=f"{why}; nobody else announces", announcing=True, rung=lowest - 1)
        if rung < lowest:
            return _Move(phase=Phase.DRAINING, reason=why, announcing=False, look=memory.look, rung=lowest)
    elif bad:
        return _descend(scene, memory, rung, lowest, why)
    if memory.phase is Phase.DRAINED:
        return _stay(memory, why)
    here_over = memory.phase is Phase.HELD or rung < 0
    passed_s = scene.sight.now_s - memory.rung_since_s
    if here_over or ladder.over(scene.rungs[rung], passed_s, scene.sight.connections):
        return _descend(scene, memory, rung, rung + 1, why)
    return _Move(phase=Phase.DRAINING, reason=why, announcing=memory.announcing, look=memory.look, rung=rung)


def _descend(scene: _Scene, memory: Memory, rung: int, below: int, why: str) -> _Move:
    """From a rung to one below, past the guard where the route ends there."""
    if below >= len(scene.rungs):
        return _Move(phase=Phase.DRAINED, reason=why, announcing=False, look=memory.look, rung=rung)
    announcing = memory.announcing and scene.rungs[below].announce
    if announcing or not memory.announcing or scene.ruling.leave is Leave.FREE:
        return _Move(phase=Phase.DRAINING, reason=why, announcing=announcing, look=memory.look, rung=below)
    if memory.phase not in (Phase.DRAINING, Phase.HELD):
        return _Move(phase=Phase.DRAINING, reason=why, announcing=True, look=memory.look, rung=rung)
    return _wait(scene, memory, why, rung)


def _lift(scene: _Scene, memory: Memory) -> _Move:
    """Off the ladder, or enabled again: an announcement that stands goes on as if nothing had been."""
    bad = scene.verdict.tendency is Tendency.BAD
    if memory.phase is Phase.DRAINING and memory.announcing and memory.look is Phase.UP:
        return _Move(
            phase=Phase.FALLING if bad else Phase.UP,
            reason=scene.verdict.reason if bad else f"drain lifted; {scene.verdict.reason}",
            announcing=True,
        )
    phase = Phase.DOWN if bad and not memory.announcing else Phase.RISING
    return _Move(phase=phase, reason=scene.verdict.reason, announcing=memory.announcing, look=memory.look)


# --------------------------------------------------------------------------------------------------------------- health


def _follow(scene: _Scene, memory: Memory) -> _Move:
    """The phase that health alone asks for."""
    why = scene.verdict.reason
    match scene.verdict.tendency:
        case Tendency.BAD:
            return _fall(scene, memory, why)
        case Tendency.GOOD:
            return _rise(scene, memory, why)
        case Tendency.WEAK if memory.phase is Phase.UP:
            return _Move(phase=Phase.FALLING, reason=why, announcing=True)
        case Tendency.STARTING if memory.phase is Phase.FALLING:
            return _Move(phase=Phase.UP, reason=why, announcing=True)
        case Tendency.STARTING | Tendency.RECOVERING if memory.phase in (Phase.INIT, Phase.DOWN):
            return _Move(phase=Phase.RISING, reason=why, announcing=memory.announcing, look=memory.look)
        case _:
            return _stay(memory, why)


def _fall(scene: _Scene, memory: Memory, why: str) -> _Move:
    if scene.service.withdraw_on_down:
        return _depart(scene, memory, Phase.DOWN, why)
    if memory.phase is Phase.UP:
        return _Move(phase=Phase.FALLING, reason=why, announcing=True)
    announcing = memory.announcing or scene.barred is None
    return _Move(phase=Phase.DOWN, reason=why, announcing=announcing, look=Phase.DOWN)


def _rise(scene: _Scene, memory: Memory, why: str) -> _Move:
    match memory.phase:
        case Phase.UP | Phase.FALLING | Phase.HELD:
            return _Move(phase=Phase.UP, reason=why, announcing=True)
        case Phase.INIT | Phase.DOWN:
            return _Move(phase=Phase.RISING, reason=why, announcing=memory.announcing, look=memory.look)
        case _:
            if scene.barred is not None and not memory.announcing:
                return _stay(memory, scene.barred)
            if memory.suppressed and not scene.alone:
                return _stay(memory, "damped: it fell too often")
            return _Move(phase=Phase.UP, reason=why, announcing=True)


# ------------------------------------------------------------------------------------------------------ past the guard


def _depart(scene: _Scene, memory: Memory, to: Phase, why: str) -> _Move:
    """Without a route into `to`, if the guard lets it; through FALLING, and to HELD if it does not."""
    if not memory.announcing:
        if memory.phase is to and _comes_back(scene, memory):
            return _Move(phase=Phase.HELD, reason=f"{why}; nobody else announces", announcing=True)
        return _Move(phase=to, reason=why, announcing=False)
    if memory.phase in (Phase.UP, Phase.RISING):
        return _Move(phase=Phase.FALLING, reason=why, announcing=True, look=memory.look)
    if scene.ruling.leave is Leave.FREE:
        return _Move(phase=to, reason=why, announcing=False)
    return _wait(scene, memory, why, memory.rung)


def _wait(scene: _Scene, memory: Memory, why: str, rung: int) -> _Move:
    """Announced until the guard has its answer, and HELD if that is no."""
    reason = f"{why}; {scene.ruling.reason}"
    held = memory.phase is Phase.HELD or scene.ruling.leave is Leave.HOLD
    phase = Phase.HELD if held else memory.phase
    return _Move(phase=phase, reason=reason, announcing=True, look=memory.look, rung=rung, waiting=True)


def _comes_back(scene: _Scene, memory: Memory) -> bool:
    """Whether a service that left is to be announced again, as it is, because nobody does any more."""
    return scene.alone and memory.announced and scene.barred is None


# ----------------------------------------------------------------------------------------------------------------- wish


def _wish(scene: _Scene, memory: Memory, passed: tuple[Phase, ...], *, waiting: bool) -> Wish:
    on_ladder = memory.phase in ON_LADDER and memory.rung >= 0
    here = scene.rungs[memory.rung] if on_ladder else None
    names = tuple(rung.name for rung in scene.rungs)
    draining = memory.phase is Phase.DRAINING
    passed_s = scene.sight.now_s - memory.rung_since_s
    leaving = memory.announcing and (waiting or _leaving(scene, memory))
    return Wish(
        phase=memory.phase,
        reason=memory.reason,
        announce=memory.announcing,
        address=here is None or here.address or memory.announcing,
        look=memory.look,
        rung=here.name if here is not None else None,
        rungs=names[: memory.rung + 1] if on_ladder else (),
        rungs_left=names[memory.rung + 1 :] if draining else (),
        eta_s=ladder.eta_s(scene.rungs, memory.rung, passed_s) if draining else None,
        leaving=leaving,
        wants_permit=leaving and scene.ruling.permit,
        returns_permit=memory.announcing and not leaving and not _left_lately(scene, memory),
        on_expiry=guard.on_expiry(scene.anycast, scene.speaker, scene.service, scene.sight),
        wake_s=_wake_s(scene, memory),
        passed=passed,
        warnings=guard.warnings(scene.anycast, scene.service, scene.sight),
    )


def _leaving(scene: _Scene, memory: Memory) -> bool:
    """Whether the route is about to be withdrawn, or would be if the guard let it."""
    match memory.phase:
        case Phase.FALLING:
            return scene.service.withdraw_on_down
        case Phase.HELD:
            return True
        case Phase.DRAINING:
            return memory.rung + 1 >= ladder.first_withdrawn(scene.rungs) or scene.verdict.tendency is Tendency.BAD
        case _:
            return False


def _left_lately(scene: _Scene, memory: Memory) -> bool:
    """Whether this speaker left within the window, so that the permit must stand; a tenth more is for clocks."""
    window_s = 1.1 * scene.anycast.guard.leave_window_s
    return memory.left_s is not None and scene.sight.now_s - memory.left_s < window_s


def _wake_s(scene: _Scene, memory: Memory) -> float | None:
    now_s, age_s = scene.sight.now_s, scene.sight.controller_age_s
    moments: list[float | None] = []
    if memory.phase is Phase.DRAINING and memory.rung >= 0:
        moments.append(ladder.next_look_s(scene.rungs[memory.rung], memory.rung_since_s, now_s))
    silent_s = silence_max_s(scene.anycast)
    if silent_s is not None and age_s is not None and age_s <= silent_s:
        moments.append(now_s + silent_s - age_s + 0.001)
    if memory.suppressed and scene.anycast.guard.damping is not None:
        moments.append(damping.reuse_s(scene.anycast.guard.damping, memory, now_s))
    # What is due by now waits for something else: an answer, or others.
    return min((each for each in moments if each is not None and each > now_s), default=None)
