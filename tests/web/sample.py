"""A node with some of everything, for tests and for looking at the page."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from gtm.model.check import Target
from gtm.model.cluster import ClusterState, PeerState
from gtm.model.errors import AskedError, StoreError
from gtm.model.health import Health, Result, Vote
from gtm.model.load import LoadMetric, LoadSourceState, LoadSubject, LoadSummary, LoadValue
from gtm.model.override import Action, Override, Subject
from gtm.model.place import Coordinates
from gtm.model.rtt import RttState
from gtm.web.source import Question
from gtm.web.status import (
    ControllerStatus,
    DatabaseStatus,
    InstanceStatus,
    PoolRegionStatus,
    PoolStatus,
    RegionStatus,
    Status,
    TableStatus,
    WorkerStatus,
)

NOW_S = 1_800_000_000.0


def instance(address: str, health: Health, *, weight: int = 100, judged: Health | None = None) -> InstanceStatus:
    good = health in {Health.UP, Health.DRAINING}
    return InstanceStatus(
        label=address,
        weight=weight,
        health=health,
        available=health is Health.UP,
        reason=f"check web@{address} says {health}" if judged is None else "drained by ana at region/us-west: kernel",
        target=Target(check="web", address=ip_address(address)),
        judged=health if judged is None else judged,
        since_s=NOW_S - 3600,
        last=Result(at_s=NOW_S - 4, ok=good, took_s=0.0012, detail="200 OK" if good else "connection refused"),
    )


def part(region: str, *instances: InstanceStatus) -> PoolRegionStatus:
    healthy = sum(one.available for one in instances)
    up = 2 * healthy >= len(instances)
    return PoolRegionStatus(
        region=region,
        available=up,
        healthy=healthy,
        total=len(instances),
        reason=f"{healthy} of {len(instances)} healthy, {'at least' if up else 'below'} 50%",
        instances=instances,
    )


def loaded(subject: str, metric: LoadMetric, value: float, parts: int = 0) -> LoadSubject:
    load = LoadValue(value=value, raw=value * 1.1, age_s=7.0, source="http://127.0.0.1:9090", parts=parts)
    return LoadSubject(subject=subject, metric=metric, load=load)


STATUS = Status(
    node="ns1",
    region="eu-west",
    version="0.1.0",
    now_s=NOW_S,
    controller=ControllerStatus(alive=True, pid=4711, heartbeat_age_s=0.4),
    table=TableStatus(revision=42, age_s=0.4),
    workers=(
        WorkerStatus(
            name="dns-0",
            pid=4712,
            alive=True,
            revision=42,
            counters={"udp4_queries": 1201, "tcp6_queries": 3, "rcode_noerror": 1200, "rcode_refused": 4, "dropped": 1},
        ),
        WorkerStatus(name="dns-1", pid=4713, alive=False, revision=41, counters={"udp4_queries": 7}),
    ),
    regions=(
        RegionStatus(
            name="us-east",
            coordinates=Coordinates(latitude=39.04, longitude=-77.49),
            share=0.35,
            pools_available=1,
            pools_total=1,
        ),
        RegionStatus(
            name="eu-west",
            coordinates=Coordinates(latitude=53.35, longitude=-6.26),
            share=0.30,
            pools_available=0,
            pools_total=1,
        ),
        RegionStatus(
            name="us-west",
            coordinates=Coordinates(latitude=45.84, longitude=-119.7),
            share=0.10,
            pools_available=0,
            pools_total=1,
        ),
    ),
    pools=(
        PoolStatus(
            name="lb.example.com/web",
            names=("www.lb.example.com.", "*.app.lb.example.com."),
            all_down=False,
            regions=(
                part(
                    "us-east",
                    instance("127.0.1.11", Health.UP, weight=70),
                    instance("127.0.1.12", Health.UP, weight=30),
                ),
                part(
                    "eu-west",
                    replace(
                        instance("127.0.2.11", Health.DOWN),
                        votes=(
                            Vote(vantage="ns1", health=Health.DOWN),
                            Vote(vantage="ns2", health=Health.DOWN),
                            Vote(vantage="ns3", health=Health.UP, counted=False, why="it has not been heard of lately"),
                        ),
                    ),
                    instance("127.0.2.12", Health.UNKNOWN),
                ),
                part("us-west", replace(instance("127.0.4.11", Health.DRAINING, judged=Health.UP), stale=True)),
            ),
        ),
    ),
    overrides=(
        Override(
            subject=Subject(kind="region", name="us-west"),
            action=Action.DRAIN,
            owner="ana",
            reason='kernel "6.18" <update>',
            since_s=NOW_S - 600,
            until_s=NOW_S + 3000,
        ),
    ),
    databases=(
        DatabaseStatus(
            file="geodata/default.mmdb",
            attribution="IP geolocation by DB-IP (db-ip.com), CC BY 4.0",
            built_s=NOW_S - 40 * 86400,
        ),
    ),
    faults={"web@127.0.4.11": "Too many open files while connecting"},
    load=LoadSummary(
        sources=(
            LoadSourceState(source="http://127.0.0.1:9090", age_s=7.0, samples=1200, ignored=3),
            LoadSourceState(source="/run/gtm/load.json", problem="no such file", failures=9),
        ),
        subjects=(
            loaded("region/us-east", LoadMetric.REQUESTS, 1200.0, parts=2),
            loaded("region/us-east", LoadMetric.UTILISATION, 0.425, parts=2),
            loaded("instance/us-east/127.0.1.11", LoadMetric.REQUESTS, 9.5),
        ),
    ),
    cluster=ClusterState(
        connected=False,
        age_s=12.0,
        revision=815,
        problem="no endpoint answers: connection refused",
        nodes=(
            PeerState(
                name="ns1",
                region="eu-west",
                deployment="0a1b2c3d4e5f",
                heard_s_ago=0.0,
                fresh=True,
                cut_off=False,
                targets=5,
                down=1,
            ),
            PeerState(
                name="ns3",
                region=None,
                deployment=None,
                heard_s_ago=14.0,
                fresh=False,
                cut_off=False,
                targets=5,
                down=0,
            ),
        ),
    ),
    rtt=RttState(
        networks=1200,
        warm=900,
        regions=("eu-west", "us-east"),
        nodes=("ns2",),
        networks_preferring=900,
        countries_preferring=12,
        oldest_age_s=4000.0,
        newest_age_s=2.0,
        changed_at_s=NOW_S - 700,
        samples={"active": 5000, "passive": 0, "csv": 40},
        lost=12,
        problems={"rtt.csv": "rtt.csv:3: 'x' is not a prefix (allowed: 192.0.2.0/24)"},
    ),
    probes={"started": 120, "running": 1, "ok": 80, "late": 0, "delay_seconds": 0.25, "failed_refused": 39},
)

EXPLAINED: dict[str, object] = {
    "kind": "steered",
    "name": "www.lb.example.com.",
    "rtype": "A",
    "client": "198.51.100.9",
    "down": [],
    "zone": "lb.example.com.",
    "pool": "lb.example.com/web",
    "revision": 42,
    "live": True,
    "notes": [],
    "place": {
        "country": "US",
        "subdivision": "US-NY",
        "continent": "NA",
        "asn": None,
        "coordinates": {"latitude": 42.9, "longitude": -75.6},
    },
    "place_from": "geodata/default.mmdb",
    "class_id": 17,
    "scope": 22,
    "ttl_s": 30,
    "rules": [
        {"text": "from BR: us-east, nearest", "fitted": False},
        {"text": "from everyone: nearest", "fitted": True},
    ],
    "regions": [
        {"region": "us-east", "distance_km": 460.2, "taken": True, "reason": "up: 2 of 2 healthy, at least 50%"},
        {"region": "us-west", "distance_km": 3500.7, "taken": False, "reason": "not needed"},
    ],
    "candidates": [
        {"region": "us-east", "instance": "127.0.1.11", "weight": 70, "health": "UP", "answered": True, "reason": "up"},
    ],
    "choice": {"region": "us-east", "rule": "available"},
    "answer": ["127.0.1.11"],
    "records": [],
}


class Source:
    """A StatusSource with fixed answers; `broken` makes it fail as an empty state folder does."""

    def __init__(self, status: Status = STATUS, *, broken: bool = False) -> None:
        self.told = status
        self.broken = broken
        self.asked: list[Question] = []

    def status(self) -> Status:
        if self.broken:
            raise StoreError("the state folder is empty: nothing has been published yet")
        return self.told

    def explain(self, question: Question) -> dict[str, object]:
        self.asked.append(question)
        if self.broken:
            raise StoreError("the state folder is empty: nothing has been published yet")
        if "example" not in question.name:
            raise AskedError(f"{question.name} is in no zone", argument="name", known=("www.lb.example.com.",))
        return EXPLAINED


def well() -> Status:
    """The node with nothing that somebody should look at."""
    pool = STATUS.pools[0]
    parts = tuple(replace(one, instances=tuple(replace(i, stale=False) for i in one.instances)) for one in pool.regions)
    return replace(
        STATUS,
        workers=STATUS.workers[:1],
        pools=(replace(pool, regions=parts),),
        faults={},
        cluster=None,
        load=None,
        rtt=None,
    )


def without_controller() -> Status:
    """The node some minutes after its controller was killed."""
    return replace(
        STATUS,
        controller=ControllerStatus(alive=False, pid=4711, heartbeat_age_s=200.0),
        table=TableStatus(revision=42, age_s=200.0),
    )
