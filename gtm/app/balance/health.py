"""Backends probed from this instance, folded as everywhere; what is checked may change while it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from gtm.app.balance.plan import direct_of, target_of
from gtm.app.balance.through import Way
from gtm.app.observer import pace_of
from gtm.app.panel import Panel
from gtm.model.balance import Dataplane, Instance, Through
from gtm.model.check import Check, Composed, PushProbe, Target
from gtm.model.deployment import Deployment
from gtm.model.health import Judgement, Result
from gtm.observe.probe import Prepared, prepare
from gtm.observe.prober import Prober
from gtm.observe.schedule import Pace


def checks_of(deployment: Deployment, dataplane: Dataplane, instance: Instance) -> dict[Target, Check]:
    """What an instance has to probe: each backend's check, and those that composed ones look at.

    Where a service is checked through its VIP, its backends are probed at their own addresses, too.
    """
    pairs = [
        (service, backend)
        for service in dataplane.services.values()
        for backend in service.backends_of(instance.region)
        if service.check is not None
    ]
    wanted = [direct for pair in pairs if (direct := direct_of(*pair)) is not None]
    found: dict[Target, Check] = {
        target: deployment.checks[service.check]
        for service, backend in pairs
        if service.check is not None
        and service.through is Through.VIP
        and (target := target_of(service, backend)) is not None
    }
    while wanted:
        target = wanted.pop()
        if target in found:
            continue
        check = found[target] = deployment.checks[target.check]
        if isinstance(check.probe, Composed):
            members = check.probe.members()
            wanted.extend(Target(check=each.check, address=each.address or target.address) for each in members)
    return found


class BackendHealth:
    """Probes until cancelled. `on_change` is called in the loop when some verdict has changed."""

    def __init__(
        self, node: str, checks: Mapping[Target, Check], on_change: Callable[[], None], ways: Mapping[Target, Way]
    ) -> None:
        """Nothing is probed before `run`. `ways` are those of targets that are not probed at their own addresses."""
        self._on_change = on_change
        self._ways = ways
        self._panel = Panel(node, checks, {}, time.time())
        self._fresh: list[tuple[Target, Result]] = []
        self._paces: dict[Target, Pace] = {}
        self._prober = Prober(_probed(checks), self._take, on_stale=self._stall, prepare=self._prepare)

    @property
    def judgements(self) -> Mapping[Target, Judgement]:
        """What is known of every target, composed ones too."""
        return self._panel.agreed

    @property
    def faults(self) -> Mapping[Target, str]:
        """Why some cannot be probed, through a fault on this side."""
        return self._prober.faults

    async def run(self) -> None:
        """Probe until cancelled."""
        await self._prober.run()

    async def first_round(self) -> bool:
        """Whether every target has had a result; waits for it as long as one can take."""
        return await self._prober.first_round()

    def update(self, checks: Mapping[Target, Check], ways: Mapping[Target, Way]) -> None:
        """Probe these from now on; what is known of those that stay is kept."""
        self._ways = ways
        self._panel.configure(checks, time.time())
        self._prober.update(_probed(checks))

    def _prepare(self, target: Target, check: Check) -> Prepared:
        way = self._ways.get(target)
        if way is None:
            return prepare(target, check)
        return prepare(Target(check=check.name, address=way.vip), check, mark=way.mark)

    def _take(self, target: Target, result: Result) -> None:
        """What comes in one turn of the loop is folded together."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._tick)
        self._fresh.append((target, result))

    def _tick(self) -> None:
        results, self._fresh = self._fresh, []
        changes = self._panel.fold(results, time.time())
        if changes:
            self._on_change()
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
        if self._panel.stall(stale, time.time()):
            self._on_change()


def _probed(checks: Mapping[Target, Check]) -> dict[Target, Check]:
    return {each: check for each, check in checks.items() if not isinstance(check.probe, Composed | PushProbe)}
