from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app.announce.follow import Follow, drain_of, regions_up
from gtm.config.deployment import load
from gtm.model.anycast import Anycast
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.health import Health, Judgement
from gtm.model.node import Identity
from gtm.model.override import Action, Override, Subject
from gtm.publish.dns import sealed
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from tests.announcing import write

POOL = "example.test/web"
DEADLINE_S = 60.0


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return load(write(tmp_path))


def anycast_of(deployment: Deployment) -> Anycast:
    assert deployment.anycast is not None
    return deployment.anycast


def order(subject: str, action: Action = Action.DRAIN, *, until_s: float | None = None) -> Override:
    return Override(
        subject=Subject.parse(subject), action=action, owner="ana", reason="kernel", since_s=0.0, until_s=until_s
    )


def facts(revision: int, *, overrides: tuple[Override, ...] = (), **health: Health) -> Facts:
    """Facts with the health of us-east's (`east`) and eu-west's (`west`) instances."""
    addresses = {"east": ("127.0.1.91", "127.0.1.92"), "west": ("127.0.2.91",)}
    return Facts(
        revision=revision,
        now_s=100.0,
        started_s=0.0,
        folder="",
        judgements={
            Target(check="web", address=ip_address(address)): Judgement(health=judged, since_s=1.0)
            for name, judged in health.items()
            for address in addresses[name]
        },
        overrides=overrides,
        last_good={},
        problem=None,
        probes={},
    )


def publish(state: Path, deployment: Deployment, told: Facts, *, name: str = "deployment-1") -> None:
    """As a controller does: the tables, then the generation, then the facts."""
    (state / TABLES).mkdir(parents=True, exist_ok=True)
    sealed.write(state / TABLES / name, "deployment", sealed.freeze(deployment))
    Manifest(
        revision=told.revision, published_at_s=0.0, key=1, authority="", classes="", answers="",
        deployment=name, identity=Identity(),
    ).save(state / TABLES)  # fmt: skip
    Control(state, writable=True).publish(told.revision)
    told.save(state)


@pytest.mark.parametrize(
    ("told", "up"),
    [
        (facts(1), None),
        (facts(1, east=Health.UP), True),
        (facts(1, east=Health.DEGRADED), True),
        (facts(1, east=Health.DOWN), False),
        (facts(1, east=Health.UP, overrides=(order("region/us-east"),)), True),
        (facts(1, east=Health.UP, overrides=(order("region/us-east", Action.FORCE_DOWN),)), False),
        (facts(1, east=Health.DOWN, overrides=(order("region/us-east", Action.FORCE_UP),)), True),
    ],
)
def test_the_word_on_a_region(deployment: Deployment, told: Facts, up: bool | None) -> None:
    assert regions_up(deployment, told, "us-east", {POOL, None}) == {POOL: up}


def test_a_region_that_a_pool_is_not_in(deployment: Deployment) -> None:
    assert regions_up(deployment, facts(1), "us-east", {"example.test/lonely"}) == {"example.test/lonely": None}


@pytest.mark.parametrize(
    ("subject", "nodes"),
    [
        ("speaker/small", {"small"}),
        ("speaker/small2", {"small2"}),
        ("region/us-east", {"small", "small2"}),
        ("region/eu-west", {"edge-eu"}),
        ("instance/us-east/198.51.100.4", {"small2"}),  # its own address
        ("instance/us-east/2001:db8:100::2", set()),  # no session has it
        ("instance/us-east/small", {"small"}),
        ("instance/us-east/203.0.113.1", {"small", "small2"}),  # the service's address, there
        ("instance/eu-west/198.51.100.4", set()),
        ("instance/us-east/127.0.1.91", set()),
        ("pool/example.test/web", set()),
    ],
)
def test_whom_a_drain_is_about(deployment: Deployment, subject: str, nodes: set[str]) -> None:
    anycast = anycast_of(deployment)
    (service,) = anycast.services.values()
    drain = order(subject)
    found = {node for node, one in anycast.speakers.items() if drain_of((drain,), one, service, 5.0) is drain}
    assert found == nodes


def test_the_narrowest_drain_counts_while_it_stands(deployment: Deployment) -> None:
    anycast = anycast_of(deployment)
    (service,), speaker = anycast.services.values(), anycast.speakers["small"]
    region, own = order("region/us-east"), order("speaker/small", until_s=10.0)
    assert drain_of((region, own), speaker, service, 9.0) is own
    assert drain_of((region, own), speaker, service, 10.0) is region
    assert drain_of((order("region/us-east", Action.FORCE_DOWN),), speaker, service, 9.0) is None


def test_what_a_controller_publishes_is_followed(tmp_path: Path, deployment: Deployment) -> None:
    state, anycast = tmp_path / "state", anycast_of(deployment)

    async def main() -> None:
        changed = asyncio.Event()
        follow = Follow(state, anycast, anycast.speakers["small"], on_change=changed.set)
        await follow.look()
        nothing = follow.seen("web")
        assert (nothing.region_up, nothing.drain, nothing.controller_age_s) == (None, None, None)

        publish(state, deployment, facts(1, east=Health.UP))
        task = asyncio.create_task(follow.run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while follow.seen("web").region_up is not True:
                    changed.clear()
                    await changed.wait()
                assert follow.seen("web").controller_age_s is not None
                drain = order("speaker/small", until_s=time.time() + 3600)
                publish(state, deployment, facts(2, east=Health.DOWN, overrides=(drain,)))
                while follow.seen("web").region_up is not False:
                    changed.clear()
                    await changed.wait()
                assert follow.seen("web").drain == drain
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert follow.problem is None

    asyncio.run(main())


def test_facts_that_come_after_their_revision_are_waited_for(tmp_path: Path, deployment: Deployment) -> None:
    state, anycast = tmp_path / "state", anycast_of(deployment)

    async def main() -> None:
        follow = Follow(state, anycast, anycast.speakers["small"], on_change=lambda: None)
        publish(state, deployment, facts(1, east=Health.UP))
        await follow.look()
        Control(state, writable=True).publish(2)
        await follow.look()
        assert follow.seen("web").region_up is True
        facts(2, east=Health.DOWN).save(state)
        await follow.look()
        assert follow.seen("web").region_up is False

    asyncio.run(main())


def test_a_state_that_cannot_be_read_leaves_what_was_known(tmp_path: Path, deployment: Deployment) -> None:
    state, anycast = tmp_path / "state", anycast_of(deployment)

    async def main() -> None:
        follow = Follow(state, anycast, anycast.speakers["small"], on_change=lambda: None)
        publish(state, deployment, facts(1, east=Health.UP))
        await follow.look()
        Control(state, writable=True).publish(2)
        (state / "facts").write_bytes(b"torn")
        await follow.look()
        assert follow.seen("web").region_up is True
        assert "facts" in str(follow.problem)

    asyncio.run(main())


def test_another_deployment_is_read(tmp_path: Path, deployment: Deployment) -> None:
    state, anycast = tmp_path / "state", anycast_of(deployment)

    async def main() -> None:
        follow = Follow(state, anycast, anycast.speakers["small"], on_change=lambda: None)
        publish(state, deployment, facts(1, east=Health.UP))
        await follow.look()
        assert follow.seen("web").region_up is True
        publish(state, replace(deployment, pools={}), facts(2, east=Health.UP), name="deployment-2")
        await follow.look()
        assert follow.seen("web").region_up is None

    asyncio.run(main())
