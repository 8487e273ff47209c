"""Instances over real sockets: who joins gets all, what is forged or said again changes nothing, who is cut waits."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from gtm.app.balance import sync as module
from gtm.app.balance.sync import Sync
from gtm.publish.dataplane.flows import Flows
from gtm.wire import sync as wire
from tests.app.balance.syncing import KEY, SEED, Site, content, running, until, words


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site("lb1", "lb2")
    yield made
    made.close()


def has_more_than(count: int, table: np.ndarray) -> bool:
    return len(content(table)) > count


def filled(buckets: np.ndarray, count: int) -> set[int]:
    Flows(buckets).told(words(count))
    return content(buckets)


def test_who_joins_gets_all_in_both_directions_and_is_ready_then(site: Site) -> None:
    async def scenario() -> None:
        (one, table1), (two, table2) = site.make("lb1"), site.make("lb2")
        flows = filled(table1, 5000)
        Flows(table2).told(words(100, backend=6, start=90_000))
        assert not one.ready
        assert two.why_not() == "flows of lb1 are still to come"
        async with running(one, two):
            await until(lambda: one.ready and two.ready)
        assert content(table1) == content(table2)
        assert flows < content(table1)
        assert two.why_not() is None
        (peer,) = one.status().peers
        assert (peer.node, peer.ready, peer.compatible, peer.unknown) == ("lb2", True, True, 0)

    asyncio.run(scenario())


def test_numbers_are_translated_by_name(site: Site) -> None:
    async def scenario() -> None:
        one, table1 = site.make("lb1", numbers={"web/a": 5, "web/gone": 6})
        two, table2 = site.make("lb2", numbers={"web/a": 77, "web/b": 5})
        Flows(table1).told(words(10))
        Flows(table1).told(words(10, backend=6, start=100))
        async with running(one, two):
            await until(lambda: two.ready)
            assert content(table2) == set(words(10, backend=77).tolist())
            assert two.status().peers[0].unknown == 10
            two.set_numbers({"web/a": 78, "web/gone": 9})
            await until(lambda: len(content(table2)) == 20)
        assert set(words(10, backend=9, start=100).tolist()) < content(table2)

    asyncio.run(scenario())


def test_a_second_life_gets_all_again(site: Site) -> None:
    async def scenario() -> None:
        one, table1 = site.make("lb1")
        flows = filled(table1, 3000)
        async with running(one):
            for _ in range(5):
                two, table2 = site.make("lb2")
                async with running(two):
                    await until(partial(getattr, two, "ready"))
                    assert content(table2) == flows

    asyncio.run(scenario())


class Relay:
    """Stands before an instance: hands on what comes, or not, and keeps it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        self.target, self.limit = target, 1 << 30
        self.kept: list[bytes] = []
        self.port: int = self.socket.getsockname()[1]

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self.socket, self._hand)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()

    def _hand(self) -> None:
        octets = self.socket.recv(2000)
        self.kept.append(octets)
        if len(self.kept) <= self.limit:
            self.socket.sendto(octets, self.target)


def relayed(site: Site, node: str) -> Relay:
    """A relay in whose place the others look for `node`."""
    endpoint = site.endpoints[node]
    relay = Relay((str(endpoint.address), endpoint.port))
    site.endpoints[node] = type(endpoint)(address=endpoint.address, port=relay.port)
    return relay


def test_forged_repeated_and_reordered_datagrams_change_nothing(site: Site) -> None:
    async def scenario() -> None:
        two, table2 = site.make("lb2")
        relay = relayed(site, "lb2")
        one, table1 = site.make("lb1")
        filled(table1, 20_000)
        relay.start()
        async with running(one, two):
            await until(lambda: one.ready and two.ready)
            recorded = relay.kept[:]
            assert len(recorded) > 130
            before, copy = two.status(), table2.tobytes()
            Flows(table1).clear()  # so that nothing of it could be told again unseen
            rand = random.Random(3)
            rand.shuffle(recorded)
            key = wire.derive(bytes(32), pop=wire.digest32("eu-west"), sender=1, receiver=2)
            for octets in recorded:
                relay.socket.sendto(octets, relay.target)
                damaged = bytearray(octets)
                damaged[rand.randrange(len(damaged))] ^= 1 << rand.randrange(8)
                relay.socket.sendto(bytes(damaged), relay.target)
                relay.socket.sendto(octets[:-16] + wire._tag(octets[:-16], key), relay.target)
                relay.socket.sendto(octets[: rand.randrange(len(octets))], relay.target)
                await asyncio.sleep(0)
            refused = sum(before.refused.values())
            # Some of a burst may not fit the socket's buffer; those that did are each refused.
            await until(lambda: sum(two.status().refused.values()) > refused + 200)
            await until(lambda: two.status().peers[0].repeated > 50)
            after = two.status()
            assert {"forged", "short", "version", "pop", "sender"} & set(after.refused) >= {"forged", "short"}
            assert table2.tobytes() == copy
            assert (after.learnt, after.peers[0].sessions) == (before.learnt, before.peers[0].sessions)
            assert one.status().peers[0].sessions == 1
        relay.stop()

    asyncio.run(scenario())


def test_who_is_started_anew_before_the_end_is_never_ready(site: Site) -> None:
    """Each life is cut off while pages are missing."""

    async def scenario() -> None:
        endpoint = site.endpoints["lb2"]
        relay = relayed(site, "lb2")
        one, table1 = site.make("lb1")
        filled(table1, 50_000)
        site.endpoints["lb2"] = endpoint
        relay.start()
        async with running(one):
            for _ in range(5):
                relay.limit = len(relay.kept) + 100
                two, table2 = site.make("lb2")
                async with running(two):
                    await until(partial(has_more_than, 5000, table2))
                    assert not two.ready
            relay.limit = 1 << 30
            two, table2 = site.make("lb2")
            async with running(two):
                await until(lambda: two.ready)
                assert content(table2) == content(table1)
        relay.stop()

    asyncio.run(scenario())


def test_other_secrets_and_other_seeds_exchange_nothing(site: Site) -> None:
    async def scenario() -> None:
        one, table1 = site.make("lb1")
        filled(table1, 100)
        stranger, stranger_table = site.make("lb2", key=KEY[::-1])
        async with running(one, stranger):
            await until(lambda: one.status().refused.get("forged", 0) > 1)
        assert not stranger.ready
        assert (one.why_not() or "").endswith("datagrams were refused: has the other one the same secret?")
        other, other_table = site.make("lb2", seed=(SEED[0] + 1, SEED[1]))
        one, _ = site.make("lb1", flows=Flows(table1))
        async with running(one, other):
            await until(lambda: one.ready and other.ready)  # nobody waits for what could never come
        assert not one.status().peers[0].compatible
        assert content(stranger_table) == content(other_table) == set()

    asyncio.run(scenario())


def test_alone_it_is_ready_after_a_while() -> None:
    async def scenario() -> None:
        site = Site("lb1", "lb2")
        one, _ = site.make("lb1", ready_s=0.05)
        assert not one.ready
        async with running(one):
            await until(lambda: one.ready)
        site.close()

    asyncio.run(scenario())


def test_without_peers_it_is_ready_at_once() -> None:
    async def scenario() -> None:
        one, _ = Site("lb1").make("lb1")
        async with running(one):
            assert one.ready

    asyncio.run(scenario())


def test_lost_events_cost_a_bulk_transfer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.0)

    async def scenario() -> None:
        lost = 0
        (one, table1), (two, table2) = site.make("lb1"), site.make("lb2")
        one._count_lost = lambda: lost
        async with running(one, two):
            await until(lambda: one.ready and two.ready)
            flows = filled(table1, 500)  # nobody tells of these
            lost = 500
            await until(lambda: content(table2) == flows)
        assert one.status().lost == 500

    asyncio.run(scenario())


def test_three_instances_have_what_each_has() -> None:
    async def scenario() -> None:
        site = Site("lb1", "lb2", "lb3")
        made = [site.make(f"lb{number}") for number in (1, 2, 3)]
        for number, (_, table) in enumerate(made):
            Flows(table).told(words(1000, start=5000 * number))
        syncs: list[Sync] = [each for each, _ in made]
        async with running(*syncs):
            await until(lambda: all(each.ready for each in syncs))
            await until(lambda: all(len(content(table)) == 3000 for _, table in made))

    asyncio.run(scenario())
