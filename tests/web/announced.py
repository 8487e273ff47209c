"""An announcer's status for tests of what shows it: one service up, one on the ladder, one held."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from gtm.model.announcing import AnnouncerReport, NeighbourReport, RouteReport, ServiceReport
from gtm.model.anycast import ExitPolicy, Phase
from gtm.model.route import Attributes, Communities, Community
from gtm.web.status import AnnouncementsStatus, BfdStatus
from tests.web.sample import NOW_S

TRANSIT, SECOND = ip_address("198.51.100.1"), ip_address("2001:db8:100::1")
V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48")
PLAIN = Attributes(communities=Communities(standard=(Community(64500, 100),)))
SHY = Attributes(med=1000, as_path=(64500,) * 4, communities=Communities(standard=(Community(64496, 3000),)))

REPORT = AnnouncerReport(
    node="edge1",
    region="eu-west",
    at_s=NOW_S - 0.5,
    started_s=NOW_S - 7200,
    ttl_s=3.0,
    pid=4800,
    supervisor_pid=4799,
    exabgp_pid=4790,
    exabgp="5.0.15",
    services=(
        ServiceReport(
            name="web",
            phase=Phase.UP,
            reason="1 local check good, region eu-west of lb.example.com/web up",
            since_s=NOW_S - 3600,
            announcing=True,
            present={ip_address("203.0.113.1"): True},
            connections=120,
        ),
        ServiceReport(
            name="mail",
            phase=Phase.DRAINING,
            reason="drained by ana: new kernel",
            since_s=NOW_S - 100,
            announcing=True,
            rung="unattractive",
            rung_since_s=NOW_S - 10,
            rungs=("dns", "unattractive"),
            rungs_left=("connections", "withdraw", "address"),
            eta_s=325.0,
            penalty=1000.0,
        ),
        ServiceReport(
            name="ntp",
            phase=Phase.HELD,
            reason="web@127.0.0.1 DOWN; the last PoP that announces",
            since_s=NOW_S - 30,
            announcing=True,
            on_expiry=ExitPolicy.KEEP,
            present={ip_address("203.0.113.9"): False},
            suppressed=True,
            warnings=("RPKI calls 192.0.2.0/24 invalid",),
        ),
    ),
    neighbours=(
        NeighbourReport(name="transit-a", address=TRANSIT, asn=64496, up=True, since_s=NOW_S - 7000, changes=1),
        NeighbourReport(
            name="transit-b", address=SECOND, asn=64497, up=False, since_s=NOW_S - 20, reason="peer reset", changes=4
        ),
    ),
    routes=(
        RouteReport(
            service="web", neighbour=TRANSIT, prefix=V4, wished=PLAIN, accepted=True, on_wire=True, seen=True,
            seen_by="FRR", since_s=NOW_S - 3600,
        ),
        RouteReport(
            service="web", neighbour=SECOND, prefix=V6, wished=PLAIN, accepted=True, on_wire=False,
            since_s=NOW_S - 3600,
        ),
        RouteReport(
            service="mail", neighbour=TRANSIT, prefix=ip_network("198.51.200.0/24"), wished=SHY, accepted=True,
            on_wire=True, since_s=NOW_S - 10,
        ),
        RouteReport(
            service="ntp", neighbour=TRANSIT, prefix=ip_network("192.0.2.0/24"), wished=SHY, accepted=False,
            on_wire=False, since_s=NOW_S - 30,
        ),
    ),
    store=True,
    controller_age_s=0.4,
    counters={"announced": 4, "withdrawn": 1},
)  # fmt: skip
ANNOUNCED = AnnouncementsStatus(
    report=REPORT,
    age_s=0.5,
    alive=True,
    bfd=(
        BfdStatus(peer=TRANSIT, up=True, since_s_ago=7000.0, transmit_ms=50.0, receive_ms=50.0, multiplier=3),
        BfdStatus(peer=SECOND, up=False, transmit_ms=50.0, timeout_ms=150.0),
    ),
)
WELL = replace(
    ANNOUNCED,
    report=replace(REPORT, services=REPORT.services[:2], neighbours=REPORT.neighbours[:1], routes=(REPORT.routes[0],)),
    bfd=ANNOUNCED.bfd[:1],
)
