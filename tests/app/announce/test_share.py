from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from gtm.app.announce.share import Share, Shared
from gtm.decide.announce.sight import OtherSpeaker, Permit
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import Guard, Lease, Phase
from tests.decide.announce.scenes import anycast, speaker
from tests.etcd import etcd_node

DEADLINE_S = 60.0
ANYCAST = anycast(guard=Guard(leave_window_s=60.0), lease=Lease(ttl_s=20.0))


def wish(phase: Phase, *, announce: bool = True, leaving: bool = False, permit: bool = False) -> Wish:
    return Wish(
        phase=phase,
        reason="",
        announce=announce,
        address=True,
        look=Phase.UP,
        leaving=leaving,
        wants_permit=permit,
        returns_permit=announce and not leaving,
    )


class Part:
    """A speaker's share, with a way to await what it sees."""

    def __init__(self, share: Share, changed: asyncio.Event) -> None:
        self.share = share
        self.changed = changed

    async def until(self, **wanted: object) -> Shared:
        async with asyncio.timeout(DEADLINE_S):
            while any(getattr(self.share.seen("web"), name) != value for name, value in wanted.items()):
                self.changed.clear()
                await self.changed.wait()
        return self.share.seen("web")


def test_without_a_store_there_is_none(tmp_path: Path) -> None:
    share = Share(None, ANYCAST, speaker(), folder=tmp_path, on_change=lambda: None)
    share.tell("web", wish(Phase.UP))
    assert share.seen("web") == Shared()
    assert share.seen("web").store is None
    assert share.problem is None


def test_what_a_sight_has_of_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        with etcd_node(tmp_path) as etcd:
            parts = []
            async with asyncio.TaskGroup() as tasks:
                running = []
                for node in ("a1", "b1"):
                    changed = asyncio.Event()
                    one = speaker(node, node[0])
                    share = Share(etcd.cluster(lease_s=30), ANYCAST, one, folder=tmp_path, on_change=changed.set)
                    assert share.seen("web").store is False
                    running.append(tasks.create_task(share.run()))
                    parts.append(Part(share, changed))
                a, b = parts
                a.share.tell("web", wish(Phase.UP))
                up = OtherSpeaker(node="a1", region="a", fresh=True, announcing=True, leaving=False)
                await b.until(store=True, others=(up,))
                a.share.tell("web", wish(Phase.UP), stands=False)  # no neighbour has it
                await b.until(others=(replace(up, announcing=False),))
                a.share.tell("web", wish(Phase.UP), stands=True)
                await b.until(others=(up,))
                a.share.tell("web", wish(Phase.FALLING, leaving=True, permit=True))
                assert not a.share.seen("web").told
                await a.until(told=True, permit=Permit.HELD)
                b.share.tell("web", wish(Phase.FALLING, leaving=True, permit=True))
                refused = await b.until(told=True, permit=Permit.REFUSED)
                assert refused.permit_reason == "a (a1) has the permit to leave"
                leaving = OtherSpeaker(node="a1", region="a", fresh=True, announcing=True, leaving=True)
                assert refused.others == (leaving,)
                a.share.tell("web", wish(Phase.UP))  # it was no fault after all: nobody left
                await b.until(permit=Permit.HELD)
                b.share.tell("web", wish(Phase.DOWN, announce=False))
                gone = OtherSpeaker(node="b1", region="b", fresh=True, announcing=False, leaving=False)
                await a.until(others=(gone,))
                a.share.tell("web", wish(Phase.FALLING, leaving=True, permit=True))
                await a.until(told=True, permit=Permit.REFUSED)
                for task in running:
                    task.cancel()

    asyncio.run(main())
