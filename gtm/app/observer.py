"""The observer: this node's probes and what is pushed to it, folded tick by tick into the panel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from gtm.app.chronicle import Chronicle
from gtm.app.panel import Change, Panel
from gtm.decide.assign import assigned
from gtm.decide.quorum import Vantage
from gtm.model.check import Check, Composed, PushProbe, Target
from gtm.model.health import Health, Judgement, Result
from gtm.observe.counters import Counters
from gtm.observe.prober import Prober
from gtm.observe.schedule import Pace

log = structlog.get_logger()

STALE_NAMED_MAX = 3


class Observer:
    """Probes the targets that are this node's to probe, until cancelled, and keeps what is known of all of them.

    `on_change` is called with the verdicts that changed, after each tick in which some did.
    """

    def __init__(
        self,
        node: str,
        checks: Mapping[Target, Check],
        remembered: Mapping[Target, Judgement],
        on_change: Callable[[Sequence[Change]], None],
        clock: Callable[[], float],
        chronicle: Chronicle,
    ) -> None:
        """Nothing is probed before `run`."""
        self._node = node
        self._alive: tuple[str, ...] = (node,)
        self._checks = checks
        self._on_change = on_change
        self._clock = clock
        self._chronicle = chronicle
        self._panel = Panel(node, checks, remembered, self._clock())
        self._fresh: list[tuple[Target, Result]] = []
        self._idle: frozenset[Target] = frozenset()
        self._paces: dict[Target, Pace] = {}
        self._stalled: frozenset[Target] = frozenset()
        self._probed: Mapping[Target, Check] = self._mine()
        self._prober = Prober(self._probed, self._take, on_stale=self._stall, wall=clock)
        self._expired: frozenset[Target] = frozenset()

    @property
    def own(self) -> Mapping[Target, Judgement]:
        """What this node's own probes say."""
        return self._panel.own

    @property
    def cut_off(self) -> frozenset[str]:
        """The vantage points that are taken to be cut off."""
        return self._panel.cut_off

    @property
    def counters(self) -> Counters:
        """What the prober has done."""
        return self._prober.counters

    @property
    def faults(self) -> Mapping[Target, str]:
        """Why some targets cannot be probed from here, through a fault on this side."""
        return self._prober.faults

    def judgements(self) -> dict[Target, Judgement]:
        """What is known of every target, by all vantage points: a copy."""
        return dict(self._panel.agreed)

    async def run(self) -> None:
        """Probe until cancelled."""
        await self._prober.run()

    async def first_round(self) -> None:
        """Wait until every target that is probed here has had a result, as long as that can take."""
        await self._prober.first_round()
        self._tick()

    def configure(self, checks: Mapping[Target, Check]) -> None:
        """Judge exactly these targets from now on; those that did not change keep their state and schedule."""
        self._tick()
        self._checks = checks
        mine = self._mine()
        self._prober.update(mine)
        self._probed = mine
        self._panel.configure(checks, self._clock())
        self._panel.leave(self._kept(mine), self._clock())
        self._paces = {target: pace for target, pace in self._paces.items() if target in mine}
        self._chronicle.keep(self._panel.own.keys())

    def hear(self, others: Sequence[Vantage]) -> None:
        """Take in what all other nodes say now; targets are shared out anew among those that are alive."""
        alive = (self._node, *(one.name for one in others if one.fresh))
        if alive != self._alive:
            self._alive = alive
            mine = self._mine()
            self._prober.update(mine)
            self._probed = mine
            self._note(self._panel.leave(self._kept(mine), self._clock()))
        self._note(self._panel.hear(others, self._clock()))

    def push(self, target: Target, result: Result) -> None:
        """Take in a result that did not come from a probe of ours."""
        self._take(target, result)

    def expire(self, expired: frozenset[Target]) -> None:
        """Have these targets be stale, of those that are pushed, and no others: no word on them counts any more."""
        if expired != self._expired:
            self._expired = expired
            self._say_stale()

    def rest(self, idle: frozenset[Target]) -> None:
        """Probe these targets less often, and no others: nobody asks about them."""
        turned = idle ^ self._idle
        self._idle = idle
        self._set_paces(turned & self._probed.keys())

    def _stall(self, stalled: frozenset[Target]) -> None:
        """The checks of these targets, and of no others, have not run lately."""
        if new := stalled - self._stalled:
            log.warning("stale", targets=len(new), some=sorted(map(str, new))[:STALE_NAMED_MAX])
        self._stalled = stalled
        self._say_stale()

    def _say_stale(self) -> None:
        """Tell the panel which judgements are of long ago."""
        self._tick()
        self._note(self._panel.stall(self._expired | self._stalled, self._clock()))

    def _set_paces(self, targets: Iterable[Target]) -> None:
        """Have targets probed as what is known of them asks for."""
        turned = {}
        for target in targets:
            pace = pace_of(self._panel.own.get(target), idle=target in self._idle)
            if self._paces.get(target, Pace.STEADY) is not pace:
                turned[target] = self._paces[target] = pace
        if turned:
            self._prober.pace(turned)

    def _take(self, target: Target, result: Result) -> None:
        """Keep a result until the end of this turn of the loop: what comes in one tick is folded together."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._tick)
        self._fresh.append((target, result))

    def _tick(self) -> None:
        results, self._fresh = self._fresh, []
        if not results:
            return
        for target, result in results:
            self._chronicle.result(target, result)
        changes = self._panel.fold(results, self._clock())
        self._set_paces({target for target, _ in results} & self._probed.keys())
        self._note(changes)

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._chronicle.change(change.target, change.vantage, change.before, change.after)
            if not change.vantage:
                log.info("health", **_line(change))
        if changes:
            self._on_change(changes)

    def _mine(self) -> dict[Target, Check]:
        """The targets that this node probes, of those that are probed at all."""
        probed = {
            target: check for target, check in self._checks.items() if not isinstance(check.probe, Composed | PushProbe)
        }
        return assigned(self._node, self._alive, probed)

    def _kept(self, mine: Mapping[Target, Check]) -> frozenset[Target]:
        """The targets of which this node has a word of its own: those that it probes, and those pushed to it."""
        pushed = (target for target, check in self._checks.items() if isinstance(check.probe, PushProbe))
        return frozenset(mine).union(pushed)


def pace_of(judgement: Judgement | None, *, idle: bool) -> Pace:
    """How often to probe: faster while results contradict the verdict."""
    if judgement is not None and (judgement.streak or (judgement.failures and judgement.health is not Health.DOWN)):
        return Pace.FAST
    return Pace.IDLE if idle else Pace.STEADY


def _line(change: Change) -> dict[str, str]:
    after = change.after
    line = {"target": str(change.target), "was": str(change.before.health), "now": str(after.health)}
    if after.last is not None:
        line["why"] = after.last.detail
    if after.votes:
        line["votes"] = " ".join(f"{vote.vantage}={vote.health}{'' if vote.counted else '?'}" for vote in after.votes)
    return line
