"""The service's own checks on this machine: probed here, folded as everywhere, and told of after each result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from gtm.app.observer import pace_of
from gtm.app.panel import Panel
from gtm.model.check import Check, Composed, PushProbe, Target
from gtm.model.health import Judgement, Result
from gtm.observe.prober import Prober
from gtm.observe.schedule import Pace


class Local:
    """Probes until cancelled. `on_results` is called in the loop after each turn of it that had results."""

    def __init__(self, node: str, checks: Mapping[Target, Check], on_results: Callable[[], None]) -> None:
        """Nothing is probed before `run`."""
        self._on_results = on_results
        self._panel = Panel(node, checks, {}, time.time())
        self._fresh: list[tuple[Target, Result]] = []
        self._paces: dict[Target, Pace] = {}
        probed = {each: check for each, check in checks.items() if not isinstance(check.probe, Composed | PushProbe)}
        self._prober = Prober(probed, self._take, on_stale=self._stall)

    def judgements(self) -> Mapping[Target, Judgement]:
        """What is known of every target; composed ones too."""
        return self._panel.agreed

    @property
    def faults(self) -> Mapping[Target, str]:
        """Why some targets cannot be probed, through a fault on this side."""
        return self._prober.faults

    async def run(self) -> None:
        """Probe until cancelled."""
        await self._prober.run()

    def _take(self, target: Target, result: Result) -> None:
        """What comes in one turn of the loop is folded together."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._tick)
        self._fresh.append((target, result))

    def _tick(self) -> None:
        results, self._fresh = self._fresh, []
        self._panel.fold(results, time.time())
        # News first: the pace of the next probes can wait.
        self._on_results()
        self._set_paces(target for target, _ in results)

    def _set_paces(self, targets: Iterable[Target]) -> None:
        turned = {}
        for target in targets:
            pace = pace_of(self._panel.own.get(target), idle=False)
            if self._paces.get(target, Pace.STEADY) is not pace:
                turned[target] = self._paces[target] = pace
        if turned:
            self._prober.pace(turned)

    def _stall(self, stale: frozenset[Target]) -> None:
        self._panel.stall(stale, time.time())
        self._on_results()
