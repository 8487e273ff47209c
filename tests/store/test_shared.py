from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtm.model.errors import StoreError
from gtm.model.node import Node
from gtm.model.override import Action, Override, Subject
from gtm.store.etcd.client import Client
from gtm.store.etcd.orders import Orders
from gtm.store.shared import PAYLOAD_MAX_BYTES, Shared
from gtm.store.shared_view import Deployed
from tests.etcd import PASSWORD, USER, Etcd, etcd_cluster, etcd_node, make_papers
from tests.store.sharing import Sharing, eventually, sharing

EAST = Subject(kind="region", name="us-east")
WEST = Subject(kind="region", name="us-west")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Etcd]:
    with etcd_node(tmp_path) as etcd:
        yield etcd


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Etcd]:
    with etcd_cluster(tmp_path) as etcd:
        yield etcd


def drain(subject: Subject, *, for_s: float | None = None) -> Override:
    now_s = time.time()
    until_s = None if for_s is None else now_s + for_s
    return Override(subject=subject, action=Action.DRAIN, owner="ana", reason="kernel", since_s=now_s, until_s=until_s)


async def order(etcd: Etcd, folder: Path, override: Override) -> None:
    client = Client(etcd.cluster(), folder)
    try:
        orders = Orders(client, total_s=30)
        assert await orders.put(override, await orders.standing())
    finally:
        await client.close()


def test_nodes_see_what_others_post_and_when_they_leave(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(lease_s=30), tmp_path, "a", "b") as (a, b):
            a.shared.post_deployment(digest="d1", revision=7)
            a.shared.post("opinions", b"\x00\xff first")
            view = await b.until_posted("a", "opinions", b"\x00\xff first")
            assert view.connected
            assert view.problem is None
            assert view.age_s is not None
            view = await b.until(lambda view: view.nodes["a"].deployment is not None)
            assert view.nodes["a"].deployment == Deployed(digest="d1", revision=7)
            for number in range(50):
                a.shared.post("opinions", b"%d" % number)
            await b.until_posted("a", "opinions", b"49")
            await a.until_posted("a", "opinions", b"49")  # each sees itself as others do
            await a.leave()
            view = await b.until(lambda view: not view.nodes["a"].fresh)  # at once, though the lease has 30 s
            assert view.nodes["a"].postings == {}
            assert view.nodes["b"].fresh

    asyncio.run(main())


def test_what_is_posted_often_is_put_seldom(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(lease_s=30), tmp_path, "a", "b") as (a, b):
            await b.until(lambda view: "a" in view.nodes)
            before = one.revision()
            began_s = time.monotonic()
            for number in range(60):
                a.shared.post("opinions", b"%d" % number)
                await asyncio.sleep(0.01)
            await b.until_posted("a", "opinions", b"59")
            took_s = time.monotonic() - began_s
            beats = 2 * (took_s / 10 + 1)
            assert one.revision() - before <= took_s / 0.2 + 2 + beats

    asyncio.run(main())


def test_a_posting_that_is_too_large(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(lease_s=30), tmp_path, "a", "b") as (a, b):
            large = bytes(range(250)) * (PAYLOAD_MAX_BYTES // 250)
            a.shared.post("opinions", large)
            await b.until_posted("a", "opinions", large)
            with pytest.raises(StoreError, match=r"a posting of 1000001 octets is too large \(at most 1000000\)"):
                a.shared.post("opinions", bytes(PAYLOAD_MAX_BYTES + 1))
            for kind in ("alive", "", "Opinions", "a/b"):
                with pytest.raises(ValueError, match="is not a kind of posting"):
                    a.shared.post(kind, b"")

    asyncio.run(main())


def test_orders_reach_all_nodes_and_end_in_time(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(), tmp_path, "a", "b") as (a, b):
            lasting, short = drain(EAST), drain(WEST, for_s=1.5)
            await order(one, tmp_path, lasting)
            await order(one, tmp_path, short)
            for node in (a, b):
                view = await node.until(lambda view: len(view.overrides) == 2)
                assert view.overrides == (lasting, short)
            for node in (a, b):
                assert (await node.until(lambda view: len(view.overrides) == 1)).overrides == (lasting,)
            await eventually(lambda: one.keys("/gtm/overrides/") == ["/gtm/overrides/region/us-east"])
        client = Client(one.cluster(), tmp_path)
        entries = await Orders(client).audit(limit=10)
        await client.close()
        assert [(entry.what, str(entry.subject), entry.who) for entry in entries] == [
            ("expire", "region/us-west", "gtm"),
            ("drain", "region/us-west", "ana"),
            ("drain", "region/us-east", "ana"),
        ]

    asyncio.run(main())


def test_an_order_that_makes_no_sense_is_shown_and_left_out(tmp_path: Path, one: Etcd) -> None:
    one.ctl("put", "/gtm/overrides/region/us-east", '{"action": "dance"}')
    one.ctl("put", "/gtm/overrides/nonsense", "{}")
    one.ctl("put", "/gtm/nodes/odd", "x")
    one.ctl("put", "/gtm/nodes/odd/deployment", "[]")

    async def main() -> None:
        async with sharing(one.cluster(), tmp_path, "a") as (a,):
            view = await a.until(lambda view: view.connected)
            assert view.overrides == ()
            assert "the order for region/us-east makes no sense" in (view.problem or "")
            assert view.nodes["odd"].deployment is None
            one.ctl("del", "/gtm/overrides/region/us-east")
            one.ctl("put", "/gtm/overrides/region/us-west", "7")
            await a.until(lambda view: "region/us-west makes no sense" in (view.problem or ""))
            await order(one, tmp_path, drain(WEST))
            view = await a.until(lambda view: len(view.overrides) == 1)
            assert view.problem is None

    asyncio.run(main())


def test_two_nodes_of_one_name_are_told(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        (tmp_path / "other").mkdir()
        async with (
            sharing(one.cluster(), tmp_path, "a") as (a,),
            sharing(one.cluster(), tmp_path / "other", "a"),
        ):
            await a.until(lambda view: "another node is called a too" in (view.problem or ""))

    asyncio.run(main())


def test_the_leader_dies_and_nothing_is_lost(tmp_path: Path, three: Etcd) -> None:
    async def main() -> None:
        async with sharing(three.cluster(), tmp_path, "a", "b", "c") as nodes:
            a, b, c = nodes
            a.shared.post("opinions", b"before")
            await b.until_posted("a", "opinions", b"before")
            number = await asyncio.to_thread(three.leader)
            three.members[number].kill()
            a.shared.post("opinions", b"meanwhile")
            for node in nodes:
                await node.until_posted("a", "opinions", b"meanwhile")
            override = drain(EAST)
            await order(three, tmp_path, override)
            for node in nodes:
                await node.until(lambda view: view.overrides == (override,))
            three.members[number].start()
            await asyncio.to_thread(three.await_ready, number)
            three.members[(number + 1) % 3].kill()
            c.shared.post("opinions", b"after")
            for node in nodes:
                await node.until_posted("c", "opinions", b"after")
                await node.until(lambda view: view.connected and view.problem is None)

    asyncio.run(main())


def test_without_a_majority_the_last_view_stays(tmp_path: Path, three: Etcd) -> None:
    async def main() -> None:
        override = drain(EAST)
        await order(three, tmp_path, override)
        async with sharing(three.cluster(), tmp_path, "a", "b") as (a, b):
            b.shared.post("opinions", b"1")
            await a.until_posted("b", "opinions", b"1")
            await a.until(lambda view: view.overrides == (override,))
            for member in three.members[1:]:
                member.kill()
            view = await a.until(lambda view: not view.connected)
            assert view.overrides == (override,)
            assert view.nodes["b"].postings == {"opinions": b"1"}
            assert view.problem is not None
            view = await a.until(lambda view: not view.nodes["b"].fresh)
            assert view.nodes["b"].postings == {"opinions": b"1"}
            assert view.age_s is not None
            assert view.age_s > 0
            later = a.shared.seen()
            assert later.age_s is not None
            assert later.age_s > view.age_s
            b.shared.post("opinions", b"2")
            for member in three.members[1:]:
                member.start()
            view = await a.until_posted("b", "opinions", b"2")
            await a.until(lambda view: view.connected and view.problem is None)

    asyncio.run(main())


def test_what_was_compacted_away_is_read_anew(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(lease_s=5), tmp_path, "a") as (a,):
            await order(one, tmp_path, drain(EAST))
            await a.until(lambda view: len(view.overrides) == 1)
            member = one.members[0]
            member.kill()
            await a.until(lambda view: not view.connected)
            # While no node looks: one order goes, another comes, and the history between is compacted away.
            member.start()
            one.await_ready()  # in this thread, so that the node cannot look meanwhile
            one.ctl("del", "/gtm/overrides/region/us-east")
            for number in range(5):
                one.ctl("put", "/other", str(number))
            one.compact()
            view = await a.until(lambda view: view.connected and not view.overrides)
            await order(one, tmp_path, drain(WEST))
            view = await a.until(lambda view: len(view.overrides) == 1)
            assert view.overrides[0].subject == WEST

    asyncio.run(main())


def test_a_store_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "first").mkdir()
        (tmp_path / "second").mkdir()
        with etcd_node(tmp_path / "first") as first:
            places, cluster = first.places, first.cluster()
            for number in range(20):
                first.ctl("put", "/other", str(number))
            await order(first, tmp_path, drain(EAST))
            a = Sharing(cluster, "a", tmp_path)
            a.start()
            await a.until(lambda view: len(view.overrides) == 1)
        await a.until(lambda view: not view.connected)
        with etcd_cluster(tmp_path / "second", 1, places=places) as second:
            view = await a.until(lambda view: view.connected and not view.overrides)
            assert view.revision < 20
            a.shared.post("opinions", b"new")
            await a.until_posted("a", "opinions", b"new")
            assert second.get("/gtm/nodes/a/opinions") == "new"
            await a.leave()

    asyncio.run(main())


def test_postings_come_back_after_the_lease_was_lost(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(), tmp_path, "a", "b") as (a, b):
            a.shared.post("opinions", b"1")
            a.shared.post_deployment(digest="d", revision=1)
            await b.until_posted("a", "opinions", b"1")
            leases = one.ctl("lease", "list").split()[3:]
            assert len(leases) == 2
            for lease in leases:
                one.ctl("lease", "revoke", lease)  # in one turn: neither node has looked since
            await b.until(lambda view: not view.nodes["a"].fresh)
            view = await b.until_posted("a", "opinions", b"1")
            await b.until(lambda view: view.nodes["a"].deployment is not None)
            await a.until(lambda view: view.nodes["b"].fresh)
            assert view.nodes["a"].fresh

    asyncio.run(main())


CHILD = """
import asyncio, sys
from pathlib import Path
from gtm.model.cluster import Cluster
from gtm.model.node import Node
from gtm.store.shared import Shared
url, folder = sys.argv[1:]
async def main():
    cluster, cache = Cluster(endpoints=(url,), lease_s=2.0), Path(folder, "z.shared")
    shared = Shared(cluster, Node(name="z"), folder=Path(folder), cache=cache, on_change=lambda: None)
    shared.post("opinions", b"of z")
    await shared.run()
asyncio.run(main())
"""


def test_a_node_that_was_stopped_for_long_comes_back(tmp_path: Path, one: Etcd) -> None:
    async def main() -> None:
        async with sharing(one.cluster(), tmp_path, "a") as (a,):
            z = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, one.urls[0], str(tmp_path))
            try:
                await a.until_posted("z", "opinions", b"of z")
                z.send_signal(signal.SIGSTOP)
                view = await a.until(lambda view: not view.nodes["z"].postings)  # etcd has ended its lease
                assert not view.nodes["z"].fresh
                assert one.keys("/gtm/nodes/z/") == []
                z.send_signal(signal.SIGCONT)
                view = await a.until_posted("z", "opinions", b"of z")
                z.kill()
                await a.until(lambda view: not view.nodes["z"].fresh)
            finally:
                if z.returncode is None:
                    z.kill()
                await z.wait()

    asyncio.run(main())


def test_a_restart_with_the_store_away_goes_on_from_the_cache(tmp_path: Path) -> None:
    async def main() -> None:
        lasting, short = drain(EAST), drain(WEST, for_s=3600)
        with etcd_node(tmp_path) as etcd:
            cluster = etcd.cluster()
            await order(etcd, tmp_path, lasting)
            await order(etcd, tmp_path, short)
            cache = tmp_path / "a.shared"
            async with sharing(cluster, tmp_path, "a") as (a,):
                await a.until(lambda view: len(view.overrides) == 2)
                await eventually(lambda: cache.exists() and len(json.loads(cache.read_text())["overrides"]) == 2)
        assert cache.stat().st_mode & 0o777 == 0o600
        now = [1000.0, time.time() + 600]

        def again() -> Shared:
            return Shared(
                cluster, Node(name="a"), folder=tmp_path, cache=cache, on_change=lambda: None,
                clock=lambda: now[0], wall=lambda: now[1],
            )  # fmt: skip

        shared = again()
        view = shared.seen()
        assert view.overrides == (lasting, short)
        assert not view.connected
        assert view.age_s == pytest.approx(600, abs=60)
        assert view.nodes == {}
        now[1] += 7200  # the wall clock jumps: nothing happens
        assert shared.seen().overrides == (lasting, short)
        assert shared.seen().age_s == view.age_s
        now[0] += 3600
        assert shared.seen().overrides == (lasting,)
        assert again().seen().overrides == (lasting,)
        (tmp_path / "a.shared").write_text("{")
        assert again().seen().age_s is None
        other = Shared(
            etcd.cluster(prefix="/other"), Node(name="a"), folder=tmp_path, cache=cache, on_change=lambda: None
        )
        assert other.seen().overrides == ()

    asyncio.run(main())


def test_a_store_that_comes_later_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        with etcd_node(tmp_path) as etcd:
            etcd.members[0].kill()
            async with sharing(etcd.cluster(), tmp_path, "a") as (a,):
                a.shared.post("opinions", b"1")
                await a.until(lambda view: "connection refused" in (view.problem or ""))
                etcd.members[0].start()
                view = await a.until_posted("a", "opinions", b"1")
                assert view.connected

    asyncio.run(main())


def test_a_member_that_hangs_is_left_for_another(tmp_path: Path, three: Etcd) -> None:
    async def main() -> None:
        async with sharing(three.cluster(), tmp_path, "a", "b") as (a, b):
            await b.until(lambda view: "a" in view.nodes and view.nodes["a"].fresh)
            three.members[0].pause()  # the endpoint that both talk to
            try:
                a.shared.post("opinions", b"1")
                await b.until_posted("a", "opinions", b"1")
                b.shared.post("opinions", b"2")
                await a.until_posted("b", "opinions", b"2")
            finally:
                three.members[0].resume()

    asyncio.run(main())


def test_tls_and_users(tmp_path: Path) -> None:
    async def main() -> None:
        papers = make_papers(tmp_path / "papers")
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        with etcd_cluster(tmp_path, 1, papers=papers, options=("--auth-token-ttl=1",)) as etcd:
            etcd.require_users()
            async with sharing(etcd.cluster(user=USER), tmp_path, "a", "b") as (a, b):
                a.shared.post("opinions", b"1")
                await b.until_posted("a", "opinions", b"1")
                etcd.members[0].stop()  # with it all tokens are gone
                etcd.members[0].start()
                a.shared.post("opinions", b"2")
                view = await b.until_posted("a", "opinions", b"2")
                view = await b.until(lambda view: view.connected and view.problem is None)
            async with sharing(etcd.cluster(user=USER, prefix="/elsewhere"), tmp_path, "c") as (c,):
                view = await c.until(lambda view: "the user gtm may not do this" in (view.problem or ""))
                assert not view.connected

    asyncio.run(main())
