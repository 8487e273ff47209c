"""A deployment of a few PoPs and what a speaker sees of it, for the tests of announcements."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from gtm.decide.announce.sight import OtherSpeaker
from gtm.decide.health import fold
from gtm.model.anycast import Anycast, Guard, Neighbour, Phase, Rung, Service, Speaker, Treatment
from gtm.model.check import Cadence, Check, Target, TcpProbe
from gtm.model.health import Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.model.route import GRACEFUL_SHUTDOWN, Communities

TARGET = Target(check="web", address=ip_address("192.0.2.1"))
CHECK = Check(name="web", probe=TcpProbe(port=80), cadence=Cadence(fall=3, rise=3, interval_s=1.0))
LADDER = (
    Rung(name="dns", hold_s=60.0),
    Rung(
        name="graceful-shutdown",
        treatment=Treatment(communities=Communities(standard=(GRACEFUL_SHUTDOWN,))),
        hold_s=30.0,
    ),
    Rung(name="unattractive", treatment=Treatment(med=1000, prepend=3), hold_s=30.0),
    Rung(name="connections", connections=10, deadline_s=300.0),
    Rung(name="withdraw", announce=False, hold_s=5.0),
    Rung(name="address", announce=False, address=False),
)
DRAIN = Override(
    subject=Subject(kind="region", name="a"), action=Action.DRAIN, owner="ann", reason="new disks", since_s=0.0
)


def neighbour(**values: object) -> Neighbour:
    plain: dict[str, object] = {
        "name": "transit",
        "address": ip_address("198.51.100.1"),
        "local_address": ip_address("198.51.100.2"),
        "asn": 64500,
        "local_asn": 64512,
        "next_hops": {},
    }
    return Neighbour(**(plain | values))  # type: ignore[arg-type]  # a test says what differs


def speaker(node: str = "a1", region: str = "a", *neighbours: Neighbour, weight: float = 1.0) -> Speaker:
    return Speaker(
        node=node,
        region=region,
        asn=64512,
        router_id=IPv4Address("198.51.100.2"),
        neighbours=neighbours or (neighbour(),),
        weight=weight,
    )


def service(**values: object) -> Service:
    plain: dict[str, object] = {
        "name": "web",
        "prefixes": (ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48")),
        "regions": ("a", "b", "c"),
        "local": {TARGET: CHECK},
        "treatments": {Phase.DOWN: Treatment(med=1000)},
        "providers": {},
    }
    return Service(**(plain | values))  # type: ignore[arg-type]  # a test says what differs


def anycast(
    *, guard: Guard | None = None, ladder: tuple[Rung, ...] = LADDER, of: Service | None = None, **values: object
) -> Anycast:
    one = of or service()
    return Anycast(
        speakers={},
        services={one.name: one},
        ladder=ladder,
        guard=guard or Guard(),
        **({"providers": {}} | values),  # type: ignore[arg-type]  # as above
    )


def other(node: str, *, announcing: bool = True, fresh: bool = True, leaving: bool = False) -> OtherSpeaker:
    return OtherSpeaker(node=node, region=node[0], fresh=fresh, announcing=announcing, leaving=leaving)


def judged(results: str, check: Check = CHECK) -> Judgement:
    """The judgement after results, one a second: "+" is a good one, "-" a bad one."""
    found = Judgement()
    for second, mark in enumerate(results):
        result = Result(at_s=float(second), ok=mark == "+", took_s=0.001, detail="" if mark == "+" else "refused")
        found = fold(found, result, check.cadence)
    return found
