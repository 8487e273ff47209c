"""A small deployment that the decision's tests share: four regions, one pool, three instances a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from gtm.model.check import Check, Target, TcpProbe
from gtm.model.deployment import Deployment
from gtm.model.health import Health, Judgement
from gtm.model.name import SteeredName
from gtm.model.node import Node
from gtm.model.override import Override
from gtm.model.place import Coordinates, Locus, Place
from gtm.model.policy import Policy
from gtm.model.pool import Instance, Pool
from gtm.model.region import Region
from gtm.model.snapshot import Snapshot

REGIONS = {
    "us-east": Region(name="us-east", coordinates=Coordinates(latitude=39.0, longitude=-77.5), share=0.35),
    "eu-west": Region(name="eu-west", coordinates=Coordinates(latitude=53.3, longitude=-6.3), share=0.30),
    "ap-southeast": Region(name="ap-southeast", coordinates=Coordinates(latitude=1.35, longitude=103.8), share=0.25),
    "us-west": Region(name="us-west", coordinates=Coordinates(latitude=45.8, longitude=-119.7), share=0.10),
}
PLACES = {
    "New York": Coordinates(latitude=40.7, longitude=-74.0),
    "San Francisco": Coordinates(latitude=37.8, longitude=-122.4),
    "London": Coordinates(latitude=51.5, longitude=-0.1),
    "Sao Paulo": Coordinates(latitude=-23.5, longitude=-46.6),
    "Tokyo": Coordinates(latitude=35.7, longitude=139.7),
    "Sydney": Coordinates(latitude=-33.9, longitude=151.2),
}


def at(place: str, **facts: str) -> Locus:
    """The locus of a city, with further facts of its place."""
    return Locus(place=Place(coordinates=PLACES[place], **facts))  # type: ignore[arg-type]


def instances(count: int = 3) -> tuple[Instance, ...]:
    """`count` instances a region, dual stack, of equal weight."""
    return tuple(
        Instance(
            region=region,
            a=IPv4Address(f"192.0.2.{number * 10 + i}"),
            aaaa=IPv6Address(f"2001:db8:{number}::{i}"),
        )
        for number, region in enumerate(REGIONS, start=1)
        for i in range(1, count + 1)
    )


POOL = Pool(name="example.com/web", check="web", instances=instances())
WWW = SteeredName(owner="www.example.com.", zone="example.com.", pool=POOL.name, policy=Policy())
CHECK = Check(name="web", probe=TcpProbe(port=80))


def deployment(*names: SteeredName, pools: tuple[Pool, ...] = (POOL,)) -> Deployment:
    """A deployment of these names (by default www) over these pools."""
    return Deployment(
        node=Node(name="test"),
        regions=REGIONS,
        checks={"web": CHECK},
        pools={pool.name: pool for pool in pools},
        names=names or (WWW,),
        zone_files={},
    )


def snapshot(
    wanted: Deployment | None = None,
    health: Mapping[Target, Health] | None = None,
    overrides: tuple[Override, ...] = (),
    *,
    others: Health = Health.UP,
    now_s: float = 1000.0,
    revision: int = 1,
) -> Snapshot:
    """A snapshot in which targets have this health, and all others have `others`."""
    wanted = wanted or deployment()
    judged = dict.fromkeys(wanted.targets(), others) | dict(health or {})
    return Snapshot(
        revision=revision,
        now_s=now_s,
        deployment=wanted,
        judgements={target: Judgement(health=state) for target, state in judged.items()},
        overrides=overrides,
    )


def targets_of(region: str, pool: Pool = POOL) -> list[Target]:
    """The targets of a pool's instances in a region."""
    return [t for i in pool.instances if i.region == region and (t := pool.target(i)) is not None]


def down(*regions: str, pool: Pool = POOL) -> dict[Target, Health]:
    """Health in which every instance of these regions is down."""
    return {target: Health.DOWN for region in regions for target in targets_of(region, pool)}


def with_policy(policy: Policy, **changes: object) -> SteeredName:
    """The name www with another policy, and other changes."""
    return replace(WWW, policy=policy, **changes)  # type: ignore[arg-type]
