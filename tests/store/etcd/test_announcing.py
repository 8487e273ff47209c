from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gtm.model.anycast import Phase
from gtm.model.cluster import Cluster
from gtm.store.announcing_view import AnnouncingView
from gtm.store.etcd.announcing import Announcing
from tests.etcd import Etcd, etcd_cluster, etcd_node

DEADLINE_S = 60.0
ROUNDS = 200


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Etcd]:
    with etcd_node(tmp_path) as etcd:
        yield etcd


class Speaker:
    """A speaker's part in the store, with a way to await what it sees."""

    def __init__(self, cluster: Cluster, node: str, region: str, folder: Path, *, confirm_s: float = 20.0) -> None:
        self.node = node
        self.changed = asyncio.Event()
        self.announcing = Announcing(
            cluster,
            node=node,
            region=region,
            folder=folder,
            confirm_s=confirm_s,
            window_s=60.0,
            on_change=self.changed.set,
        )
        self.task = asyncio.create_task(self.announcing.run())

    async def until(self, holds: Callable[[AnnouncingView], bool]) -> AnnouncingView:
        """The view as soon as it is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds(view := self.announcing.seen()):
                self.changed.clear()
                await self.changed.wait()
        return view

    def up(self, service: str = "web") -> None:
        self.announcing.tell(service, phase=Phase.UP, announcing=True, leaving=False)

    def falling(self, service: str = "web") -> None:
        self.announcing.tell(service, phase=Phase.FALLING, announcing=True, leaving=True)
        self.announcing.want(service, wanted=True, returns=False)

    def down(self, service: str = "web") -> None:
        self.announcing.tell(service, phase=Phase.DOWN, announcing=False, leaving=False)
        self.announcing.want(service, wanted=False, returns=False)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        assert self.task.cancelled()


@asynccontextmanager
async def speakers(
    cluster: Cluster, folder: Path, *nodes: tuple[str, str], confirm_s: float = 20.0
) -> AsyncIterator[tuple[Speaker, ...]]:
    """Speakers, as (node, region), that take part until the end of the context."""
    made = tuple(Speaker(cluster, node, region, folder, confirm_s=confirm_s) for node, region in nodes)
    try:
        yield made
    finally:
        for each in made:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in made), return_exceptions=True)


def stands(view: AnnouncingView, node: str, phase: Phase, service: str = "web") -> bool:
    """Whether a speaker that is there has told of this phase."""
    found = view.speakers.get(node)
    if found is None or not found.fresh or service not in found.telling.services:
        return False
    return found.telling.services[service].phase is phase


def test_speakers_hear_what_others_tell_and_when_they_leave(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=30), tmp_path, ("a", "east"), ("b", "west")) as (a, b):
            assert not a.announcing.seen().connected
            a.up()
            view = await b.until(lambda view: stands(view, "a", Phase.UP))
            assert view.speakers["a"].telling.region == "east"
            assert view.speakers["a"].telling.services["web"].announcing
            view = await a.until(lambda view: view.connected and "web" in view.told)
            assert view.problem is None
            a.falling()
            assert "web" not in a.announcing.seen().told  # what is told is not yet there to be seen
            await a.until(lambda view: "web" in view.told)
            view = await b.until(lambda view: stands(view, "a", Phase.FALLING))
            assert view.speakers["a"].telling.services["web"].leaving
            await a.leave()
            await b.until(lambda view: "a" not in view.speakers)  # at once, though the lease has 30 s

    asyncio.run(main())


def test_of_two_regions_that_race_for_a_permit_exactly_one_has_it(tmp_path: Path, one: Etcd) -> None:
    async def race(service: str, *racers: Speaker) -> str:
        """Who got the permit; it is given back by both in turn."""
        for each in racers:
            each.announcing.want(service, wanted=True, returns=False)
        seen = [await each.until(lambda view: service in view.permits) for each in racers]
        ((winner,),) = {view.permits[service].speakers for view in seen}
        first, second = sorted(racers, key=lambda each: each.node != winner)
        await first.until(lambda view: service in view.held)
        assert service not in second.announcing.seen().held
        first.announcing.want(service, wanted=False, returns=True)
        await second.until(lambda view: service in view.held)  # given back, it goes to the one that still waits
        assert service not in first.announcing.seen().held
        second.announcing.want(service, wanted=False, returns=True)
        await second.until(lambda view: service not in view.permits)
        return winner

    async def main() -> None:
        wins = {"a": 0, "b": 0}
        async with speakers(one.cluster(lease_s=30), tmp_path, ("a", "east"), ("b", "west")) as (a, b):
            for each in (a, b):
                await each.until(lambda view: view.connected)
            for number in range(ROUNDS):
                wins[await race(f"s{number}", *((a, b) if number % 2 else (b, a)))] += 1
        assert sum(wins.values()) == ROUNDS
        assert one.keys("/gtm/bgp/leave/") == []

    asyncio.run(main())


def test_a_permit_that_was_used_stands_for_its_window(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=30), tmp_path, ("a", "east"), ("b", "west")) as (a, b):
            for each in (a, b):
                each.up()
                await each.until(lambda view: view.connected)
            a.falling()
            await a.until(lambda view: "web" in view.held)
            a.down()
            b.falling()
            await b.until(lambda view: stands(view, "a", Phase.DOWN) and "web" in view.told)
            view = b.announcing.seen()
            assert view.held == frozenset()
            assert (view.permits["web"].region, view.permits["web"].speakers) == ("east", ("a",))
            lease = int(json.loads(one.ctl("get", "/gtm/bgp/leave/web", "-w", "json"))["kvs"][0]["lease"])
            one.ctl("lease", "revoke", f"{lease:x}")  # as if the window were over
            await b.until(lambda view: "web" in view.held)

    asyncio.run(main())


def test_speakers_of_a_region_share_its_permit_until_none_wants_it(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        nodes = ("a1", "east"), ("a2", "east"), ("b", "west")
        async with speakers(one.cluster(lease_s=30), tmp_path, *nodes) as (a1, a2, b):
            for each in (a1, a2):
                each.falling()
                await each.until(lambda view: "web" in view.held)
            view = await b.until(lambda view: "web" in view.permits and len(view.permits["web"].speakers) == 2)
            assert view.permits["web"].speakers == ("a1", "a2")
            a1.announcing.want("web", wanted=False, returns=True)
            await b.until(lambda view: view.permits["web"].speakers == ("a2",))
            assert "web" in a2.announcing.seen().held
            a2.announcing.want("web", wanted=False, returns=True)
            await b.until(lambda view: "web" not in view.permits)

    asyncio.run(main())


def test_without_etcd_nothing_is_relied_on_and_afterwards_all_is_as_before(tmp_path: Path) -> None:
    async def main(etcd: Etcd) -> None:
        cluster = etcd.cluster(lease_s=2)
        async with speakers(cluster, tmp_path, ("a", "east"), ("b", "west"), confirm_s=2.0) as (a, b):
            for each in (a, b):
                each.up()
                await each.until(lambda view: view.connected)
            a.falling()
            await a.until(lambda view: "web" in view.held)
            etcd.members[0].kill()
            view = await a.until(lambda view: not view.connected)
            assert (view.held, view.told) == (frozenset(), frozenset())
            await a.until(lambda view: view.problem is not None)
            b.falling()
            await b.until(lambda view: not view.connected)
            etcd.members[0].start()
            etcd.await_ready()
            for each in (a, b):
                await each.until(lambda view: view.connected and "web" in view.told and view.problem is None)
            await a.until(lambda view: "web" in view.held)  # its window is a minute, which etcd counts anew

    with etcd_node(tmp_path) as etcd:
        asyncio.run(main(etcd))


def test_a_lease_that_is_lost_is_made_anew(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=3), tmp_path, ("a", "east"), ("b", "west")) as (a, b):
            a.up()
            await b.until(lambda view: stands(view, "a", Phase.UP))
            kv = json.loads(one.ctl("get", "/gtm/bgp/speaker/a", "-w", "json"))["kvs"][0]
            one.ctl("lease", "revoke", f"{int(kv['lease']):x}")
            await b.until(lambda view: "a" not in view.speakers)
            await b.until(lambda view: stands(view, "a", Phase.UP))
            after = json.loads(one.ctl("get", "/gtm/bgp/speaker/a", "-w", "json"))["kvs"][0]
            assert after["lease"] != kv["lease"]

    asyncio.run(main())


def test_a_permit_whose_lease_is_lost_is_asked_for_again(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=30), tmp_path, ("a", "east")) as (a,):
            a.falling()
            await a.until(lambda view: "web" in view.held)
            first = json.loads(one.ctl("get", "/gtm/bgp/leave/web", "-w", "json"))["kvs"][0]
            a.changed.clear()
            one.ctl("lease", "revoke", f"{int(first['lease']):x}")
            await a.until(lambda view: "web" not in view.permits)
            await a.until(lambda view: "web" in view.held)
            again = json.loads(one.ctl("get", "/gtm/bgp/leave/web", "-w", "json"))["kvs"][0]
            assert again["create_revision"] > first["create_revision"]

    asyncio.run(main())


def test_another_endpoint_is_followed_when_one_goes(tmp_path: Path) -> None:
    async def main(etcd: Etcd) -> None:
        async with speakers(etcd.cluster(lease_s=5), tmp_path, ("a", "east"), ("b", "west")) as (a, b):
            for each in (a, b):
                each.up()
                await each.until(lambda view: view.connected)
            etcd.members[etcd.leader()].kill()
            a.falling()
            await b.until(lambda view: stands(view, "a", Phase.FALLING))
            await a.until(lambda view: "web" in view.held)

    with etcd_cluster(tmp_path) as etcd:
        asyncio.run(main(etcd))


def test_what_cannot_be_read_announces_nothing_and_is_told_of(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=30), tmp_path, ("a", "east")) as (a,):
            await a.until(lambda view: view.connected)
            one.ctl("put", "/gtm/bgp/speaker/z", "{")
            view = await a.until(lambda view: view.problem is not None)
            assert "/gtm/bgp/speaker/z: what a speaker told makes no sense" in str(view.problem)
            assert "z" not in view.speakers
            one.ctl("del", "/gtm/bgp/speaker/z")
            await a.until(lambda view: view.problem is None)

    asyncio.run(main())


def test_two_processes_of_one_name_are_told_of(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with speakers(one.cluster(lease_s=3), tmp_path, ("a", "east"), ("a", "east")) as (first, second):
            for each in (first, second):
                await each.until(lambda view: "another speaker is called a too" in str(view.problem))

    asyncio.run(main())


def test_names_that_are_no_services(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster(endpoints=("http://127.0.0.1:1",))
        announcing = Announcing(
            cluster, node="a", region="r", folder=tmp_path, confirm_s=1, window_s=1, on_change=lambda: None
        )
        for name in ("", "a/b", "x" * 201):
            with pytest.raises(ValueError, match="is no name of a service"):
                announcing.tell(name, phase=Phase.UP, announcing=True, leaving=False)

    asyncio.run(main())
