"""A balancer with some of everything, for tests."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from gtm.model.balance import Wrap
from gtm.model.balancing import (
    Amount,
    BackendCounts,
    BackendReport,
    BalancerCounts,
    PeerReport,
    ServiceReport,
    Standing,
    Traffic,
    VipCounts,
)
from gtm.web.status import BalancerStatus
from tests.web.sample import NOW_S


def backend(
    name: str, number: int, standing: Standing, reason: str = "", until_s: float | None = None
) -> BackendReport:
    return BackendReport(
        name=name,
        number=number,
        address=ip_address(f"10.1.0.{number}"),
        wrap=Wrap.GUE,
        standing=standing,
        reason=reason,
        until_s=until_s,
    )


def vip(address: str, traffic: Traffic, protocol: str, port: int, **counts: int) -> VipCounts:
    return VipCounts(address=ip_address(address), traffic=traffic, protocol=protocol, port=port, ring=0, **counts)


COUNTS = BalancerCounts(
    at_s=NOW_S - 1,
    backends={
        1: BackendCounts(packets=12000, bytes=9000000, opened=300, closed=280, flows=4),
        2: BackendCounts(packets=700, bytes=50000, opened=20, closed=3, flows=17),
        3: BackendCounts(),
    },
    verdicts={"TX_FORWARD": Amount(packets=12700, bytes=9100000), "PASS_NO_VIP": Amount(packets=5, bytes=400)},
    guarded={"PASSED": Amount(packets=12705, bytes=9100400)},
    dropped={"DENY": Amount(packets=99, bytes=6000)},
    would_drop={"MARTIAN": Amount(packets=3, bytes=180)},
    flows=25,
    flows_closed=4,
    flow_places=1048576,
    events_told=40,
    events_lost=2,
    vips=(
        vip("203.0.113.10", Traffic.PORT, "tcp", 443, packets=12800, bytes=9100000, opened=321, closed=283),
        vip("203.0.113.10", Traffic.PORT, "udp", 443),
        vip("203.0.113.10", Traffic.ECHO, "icmp", 0, packets=4, bytes=336),
        vip("203.0.113.10", Traffic.FRAGMENTS, "tcp", 0),
        vip("2001:db8::10", Traffic.FRAGMENTS, "udp", 0, packets=7, bytes=9000),
    ),
)
BALANCED = BalancerStatus(
    node="lb1",
    region="us-east",
    interface="eth0",
    mode="native",
    age_s=0.4,
    pid=4900,
    alive=True,
    ready=True,
    services=(
        ServiceReport(
            name="web",
            ring=0,
            generation=7,
            slots=65537,
            moving=21800,
            backends=(
                backend("a1", 1, Standing.ACTIVE),
                backend("a2", 2, Standing.DRAINING, "drained by ana: kernel", NOW_S + 250),
                backend("a3", 3, Standing.OUT, "DOWN: connection refused"),
            ),
        ),
    ),
    peers=(PeerReport(node="lb2", established=True, ready=True, complete=True, heard_s=0.2),),
    counts=COUNTS,
)
SILENT = replace(BALANCED, age_s=60.0, alive=False)
ENDED = replace(SILENT, pid=0)
UNREADY = replace(BALANCED, ready=False, unready="sync: flows of lb2 are missing", problem="no MAC for 10.1.0.1")
NEVER = BalancerStatus(node="lb1", region="us-east", interface="eth0", mode="native")
