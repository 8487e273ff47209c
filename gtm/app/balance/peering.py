"""State sync as a manager has it: with the peers that the deployment names now, over the balancer's own tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from gtm.app.balance.instance import Balancing
from gtm.app.balance.sync import Sync, SyncStatus, bind, meaning
from gtm.model.address import Endpoint
from gtm.model.balance import SyncSettings
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.events import Events
from gtm.publish.dataplane.flows import Flows
from gtm.publish.dataplane.inheritance import Change, Inheritance
from gtm.publish.dataplane.maps import Balancer

log = structlog.get_logger()

AGAIN_S = 1.0  # after the port could not be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """With whom an instance syncs, and how."""

    node: str
    region: str
    settings: SyncSettings
    peers: Mapping[str, Endpoint]


def terms_of(found: Balancing) -> Terms | None:
    """The terms in a deployment; None where the instance does not sync."""
    instance = found.instance
    if instance.sync is None:
        return None
    others = {each.node: each.sync for each in found.dataplane.peers(instance)}
    return Terms(
        node=instance.node,
        region=instance.region,
        settings=instance.sync,
        peers={node: sync.listen for node, sync in others.items() if sync is not None},
    )


class Peering:
    """Runs a Sync on the terms that stand; begins when the backends have numbers, for without them no flow is read.

    That all came in full is noted in the kernel's own table (layout.SYNCED), so it is true for as long as the flows are
    there: a manager that is started anew is ready at once, and a machine that was is not.
    """

    def __init__(
        self,
        balancer: Balancer,
        key: bytes,
        *,
        changes: Callable[[], Iterable[Change]],
        inherit: Callable[[Inheritance], None],
        problem: Callable[[str | None], None],
    ) -> None:
        """`changes` and `inherit` as of Sync; `problem` hears what is in the way, and None when nothing is."""
        self._balancer, self._key, self._problem = balancer, key, problem
        self._slots, self._inherit = changes, inherit
        self._terms: Terms | None = None
        self._numbers: dict[str, int] | None = None
        self._sync: Sync | None = None
        self._changed = asyncio.Event()
        self._events = Events(balancer.object.map_fd("events"), balancer.settings)

    def follow(self, found: Balancing) -> None:
        """The deployment is this now."""
        terms = terms_of(found)
        if terms != self._terms:
            self._terms = terms
            self._changed.set()

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """The numbers of backends by SERVICE/NAME, as the kernel's tables have them now."""
        if numbers == self._numbers:
            return
        begins = self._numbers is None
        self._numbers = dict(numbers)
        if self._sync is not None:
            self._sync.set_numbers(self._numbers)
        elif begins:
            self._changed.set()

    def why_not(self) -> str | None:
        """Why the instance is not ready, for all that sync knows; None if it is."""
        if self._terms is None:
            return None
        return "has not begun" if self._sync is None else self._sync.why_not()

    def status(self) -> SyncStatus | None:
        """How it stands; None where there is none."""
        return None if self._sync is None else self._sync.status()

    async def run(self) -> None:
        """Syncs on the terms that stand, until cancelled."""
        while True:
            self._changed.clear()
            made = self._make()
            if made is None:
                await self._changed.wait()
                continue
            if isinstance(made, OSError):
                await self._wait_s(AGAIN_S)
                continue
            self._sync = made
            tasks = [asyncio.ensure_future(made.run()), asyncio.ensure_future(self._changed.wait())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._sync = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _make(self) -> Sync | OSError | None:
        terms, numbers, balancer = self._terms, self._numbers, self._balancer
        if terms is None or numbers is None:
            self._problem(None)
            return None
        try:
            bound = bind(terms.settings.listen)
        except OSError as error:
            self._problem(f"{terms.settings.listen}: {error.strerror}")
            return error
        self._problem(None)
        log.info("sync", listen=str(terms.settings.listen), peers=sorted(terms.peers))
        return Sync(
            terms.settings,
            bound=bound,
            node=terms.node,
            region=terms.region,
            peers=terms.peers,
            key=self._key,
            table=meaning(tuple(int(word) for word in balancer.settings["seed"])),
            flows=Flows(balancer.flows),
            events=self._events,
            numbers=numbers,
            lost=lambda: int(balancer.counters["events"]["lost"].sum()),
            opened=bool(balancer.settings["flags"] & layout.SYNCED),
            synced=self._note,
            changes=self._slots,
            inherit=self._inherit,
        )

    def _note(self) -> None:
        self._balancer.settings["flags"] |= layout.SYNCED
        log.info("synced")

    async def _wait_s(self, limit_s: float) -> None:
        """Until the terms change, for so long at most."""
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            return
