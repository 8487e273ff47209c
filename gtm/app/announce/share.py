"""A speaker's part in the shared store as a decision sees it: who else announces, and whether it may leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gtm.decide.announce.sight import OtherSpeaker, Permit
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import Anycast, Speaker
from gtm.model.cluster import Cluster

if TYPE_CHECKING:
    from gtm.store.announcing_view import AnnouncingView
    from gtm.store.etcd.announcing import Announcing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What Sight has of the store, under the same names."""

    others: tuple[OtherSpeaker, ...] = ()
    store: bool | None = None
    told: bool = False
    permit: Permit = Permit.NONE
    permit_reason: str | None = None


class Share:
    """A speaker's part. `tell` and `seen` never wait; only `run` talks to the store.

    Without a `cluster` there is nothing to share: `seen` says so, and `run` waits to be cancelled. `on_change` is
    called in the loop whenever `seen` has something new. `clock` is the steady one of Sight. `folder` is the deployment
    folder.
    """

    def __init__(
        self,
        cluster: Cluster | None,
        anycast: Anycast,
        speaker: Speaker,
        *,
        folder: Path,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is told before `run`."""
        self._speaker = speaker
        self._announcing = None if cluster is None else _part(cluster, anycast, speaker, folder, on_change, clock)

    def tell(self, service: str, wish: Wish, *, stands: bool = True) -> None:
        """Let others know what a step came to, and ask for the permit to leave that it wants, or give it back.

        A route that does not stand, as no neighbour has it, is nothing that others could leave for.
        """
        if self._announcing is None:
            return
        self._announcing.tell(service, phase=wish.phase, announcing=wish.announce and stands, leaving=wish.leaving)
        self._announcing.want(service, wanted=wish.wants_permit, returns=wish.returns_permit)

    def seen(self, service: str) -> Shared:
        """What is known now of a service."""
        if self._announcing is None:
            return Shared()
        view = self._announcing.seen()
        permit, reason = _permit(view, service, self._speaker)
        return Shared(
            others=tuple(_others(view, service, self._speaker)),
            store=view.connected,
            told=service in view.told,
            permit=permit,
            permit_reason=reason,
        )

    @property
    def problem(self) -> str | None:
        """What is wrong with the store, in words."""
        return None if self._announcing is None else self._announcing.seen().problem

    async def run(self) -> None:
        """Take part until cancelled."""
        if self._announcing is None:
            await asyncio.Event().wait()
        else:
            await self._announcing.run()


def _part(
    cluster: Cluster,
    anycast: Anycast,
    speaker: Speaker,
    folder: Path,
    on_change: Callable[[], None],
    clock: Callable[[], float],
) -> Announcing:
    from gtm.store.etcd.announcing import Announcing  # needs httpx, which a speaker without a store need not have

    return Announcing(
        cluster,
        node=speaker.node,
        region=speaker.region,
        folder=folder,
        confirm_s=anycast.lease.ttl_s,
        window_s=anycast.guard.leave_window_s,
        on_change=on_change,
        clock=clock,
    )


def _others(view: AnnouncingView, service: str, speaker: Speaker) -> Iterator[OtherSpeaker]:
    for node, other in view.speakers.items():
        told = other.telling.services.get(service)
        if node != speaker.node and told is not None:
            yield OtherSpeaker(
                node=node,
                region=other.telling.region,
                fresh=other.fresh,
                announcing=told.announcing,
                leaving=told.leaving,
            )


def _permit(view: AnnouncingView, service: str, speaker: Speaker) -> tuple[Permit, str | None]:
    if service in view.held:
        return Permit.HELD, None
    there = view.permits.get(service)
    if there is None or there.region == speaker.region:
        return Permit.NONE, None
    return Permit.REFUSED, f"{there.region} ({', '.join(there.speakers)}) has the permit to leave"
