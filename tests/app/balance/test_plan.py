"""What a plan makes of health, orders, neighbours, files and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gtm.app.balance.plan import Left, Plan, Planned, Sight, next_hops, plan, target_of
from gtm.decide.balance import ICMP, ICMP6, TCP, UDP
from gtm.decide.balance import Wrap as RecordWrap
from gtm.model.balance import (
    Affinity,
    Backend,
    Dataplane,
    Gateway,
    Instance,
    Port,
    QuicLb,
    Secret,
    Service,
    Through,
    Wrap,
)
from gtm.model.balancing import Standing
from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject

RACK, SPINE = ip_address("10.1.0.1"), ip_address("10.1.0.254")
MAC, OTHER = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000bb")
A1 = Backend(name="a1", address=ip_address("10.1.0.11"))
A2 = Backend(name="a2", address=ip_address("10.1.0.12"), wrap=Wrap.GUE, second_chance=True, gateway="spine")
A3 = Backend(name="a3", address=ip_address("fd00::13"), wrap=Wrap.GRE, mtu_bytes=1400)
B1 = Backend(name="b1", address=ip_address("10.2.0.11"), region="eu-west")
WEB = Service(
    name="web",
    vips=(ip_address("203.0.113.1"), ip_address("2001:db8::1")),
    ports=(Port(protocol="tcp", port=443), Port(protocol="udp", port=443, affinity=Affinity.TRACK)),
    backends=(A1, A2, A3, B1),
    check="web",
    drain_s=60.0,
)
HERE = Instance(
    node="lb1",
    region="us-east",
    interface="eth0",
    gateways=(Gateway(name="rack", address=RACK), Gateway(name="spine", address=SPINE, mac=OTHER)),
    addresses=(ip_address("10.1.0.2"), ip_address("fd00::2")),
    sources=(ip_network("172.31.0.0/16"), ip_network("fd00:31::/64")),
    mtu_bytes=1600,
)


def dataplane(*services: Service) -> Dataplane:
    return Dataplane(secret=Secret(env="LB"), services={each.name: each for each in services}, instances={"lb1": HERE})


def judged(**healths: Health) -> dict[Target, Judgement]:
    """Verdicts of a1, a2, a3."""
    last = Result(at_s=0.0, ok=False, took_s=0.1, detail="refused")
    addresses = {each.name: each.address for each in WEB.backends}
    return {
        Target(check="web", address=addresses[name]): Judgement(health=health, last=last)
        for name, health in healths.items()
    }


def sight(**more: object) -> Sight:
    known: dict[str, object] = {
        "now_s": 1000.0, "judgements": {}, "orders": (), "macs": {RACK: MAC}, "active": {}, "left": {}
    }  # fmt: skip
    return Sight(**(known | more))  # type: ignore[arg-type]


def of(planned: Plan, service: str = "web") -> Mapping[str, Planned]:
    (found,) = (each for each in planned.services if each.service.name == service)
    return {each.backend.name: each for each in found.backends}


def order(subject: str, action: Action = Action.DRAIN) -> Override:
    return Override(subject=Subject.parse(subject), action=action, owner="alice", reason="disk", since_s=0.0)


def test_all_are_up_and_only_those_of_the_region_are_used() -> None:
    found = of(plan(dataplane(WEB), HERE, sight()))
    assert {name: each.standing for name, each in found.items()} == dict.fromkeys(("a1", "a2", "a3"), Standing.ACTIVE)
    records = {name: each.record for name, each in found.items()}
    one, gue, six = records["a1"], records["a2"], records["a3"]
    assert one is not None and gue is not None and six is not None  # noqa: PT018
    assert (one.wrap, one.mac, one.mtu_bytes, one.outer6) == (RecordWrap.IP, MAC, 1600, False)
    assert one.source[12:] == ip_address("172.31.0.0").packed
    assert (gue.wrap, gue.mac, gue.second_chance, gue.source[12:]) == (
        RecordWrap.GUE, OTHER, True, ip_address("10.1.0.2").packed
    )  # fmt: skip
    assert (six.wrap, six.outer6, six.mtu_bytes) == (RecordWrap.GRE, True, 1400)
    assert six.source == ip_address("fd00:31::").packed


def test_who_is_down_is_out_and_unknown_is_not_down() -> None:
    found = of(plan(dataplane(WEB), HERE, sight(judgements=judged(a1=Health.DOWN, a2=Health.DEGRADED))))
    assert (found["a1"].standing, found["a1"].reason, found["a1"].record) == (Standing.OUT, "DOWN: refused", None)
    assert found["a2"].standing is found["a3"].standing is Standing.ACTIVE


def test_what_goes_through_the_vip_counts_and_the_other_opinion_is_told() -> None:
    through = replace(WEB, through=Through.VIP)
    counts = {each.name: target_of(through, each) for each in WEB.backends}
    assert len({*counts.values(), *judged(a1=Health.UP, a2=Health.UP)}) == 6  # none is another's, nor a direct one
    last = Result(at_s=0.0, ok=False, took_s=0.1, detail="timeout")
    down = {target: Judgement(health=Health.DOWN, last=last) for target in (counts["a1"], counts["a3"]) if target}
    found = of(plan(dataplane(through), HERE, sight(judgements=down | judged(a2=Health.DOWN, a3=Health.DOWN))))
    assert {name: (each.standing, each.reason) for name, each in found.items()} == {
        "a1": (Standing.OUT, "DOWN: timeout (at its own address it is not down)"),
        "a2": (Standing.ACTIVE, "at its own address DOWN: refused"),
        "a3": (Standing.OUT, "DOWN: timeout (at its own address it is DOWN: refused)"),
    }


def test_when_all_are_down_none_is() -> None:
    all_down = judged(a1=Health.DOWN, a2=Health.DOWN, a3=Health.DOWN)
    found = of(plan(dataplane(WEB), HERE, sight(judgements=all_down)))
    assert {each.standing for each in found.values()} == {Standing.ACTIVE}
    assert found["a1"].reason == "all are down, so none is (DOWN: refused)"
    drained = of(plan(dataplane(WEB), HERE, sight(judgements=all_down, orders=(order("backend/web/a1"),))))
    assert {name: each.standing for name, each in drained.items()} == {
        "a1": Standing.OUT, "a2": Standing.ACTIVE, "a3": Standing.ACTIVE
    }  # fmt: skip


@pytest.mark.parametrize("subject", ["backend/web/a1", "instance/us-east/10.1.0.11"])
def test_a_drain_lasts_for_the_drain_time(subject: str) -> None:
    orders = (order(subject),)
    first = plan(dataplane(WEB), HERE, sight(orders=orders))
    one = of(first)["a1"]
    assert (one.standing, one.reason, one.until_s) == (Standing.DRAINING, "drained by alice: disk", 1060.0)
    assert one.record is not None
    assert first.wake_s() == 1060.0
    assert "web/a1" not in first.active
    later = plan(dataplane(WEB), HERE, sight(orders=orders, now_s=1059.0, left=first.left))
    assert of(later)["a1"].until_s == 1060.0
    over = plan(dataplane(WEB), HERE, sight(orders=orders, now_s=1060.0, left=later.left))
    one = of(over)["a1"]
    assert (one.standing, one.record, one.until_s) == (Standing.OUT, None, None)
    assert one.reason == "drained by alice: disk; its drain is over"
    assert over.left["web/a1"].since_s == 1000.0  # it does not begin anew
    back = plan(dataplane(WEB), HERE, sight(now_s=1070.0, left=over.left))
    assert of(back)["a1"].standing is Standing.ACTIVE
    assert back.left == {}


@pytest.mark.parametrize("subject", ["backend/mail/a1", "backend/web/b1", "instance/eu-west/10.1.0.11"])
def test_orders_of_others_are_not_ours(subject: str) -> None:
    found = of(plan(dataplane(WEB), HERE, sight(orders=(order(subject), order("backend/web/a1", Action.FORCE_UP)))))
    assert found["a1"].standing is Standing.ACTIVE


def test_who_fails_while_it_drains_is_out_and_its_deadline_stays() -> None:
    orders = (order("backend/web/a1"),)
    first = plan(dataplane(WEB), HERE, sight(orders=orders))
    down = sight(orders=orders, now_s=1010.0, left=first.left, judgements=judged(a1=Health.DOWN))
    second = plan(dataplane(WEB), HERE, down)
    assert of(second)["a1"].standing is Standing.OUT
    third = plan(dataplane(WEB), HERE, sight(orders=orders, now_s=1020.0, left=second.left))
    assert (of(third)["a1"].standing, of(third)["a1"].until_s) == (Standing.DRAINING, 1060.0)


def test_weight_0_is_a_drain() -> None:
    quiet = replace(WEB, backends=(replace(A1, weight=0), A2))
    one = of(plan(dataplane(quiet), HERE, sight()))["a1"]
    assert (one.standing, one.reason) == (Standing.DRAINING, "weight 0")


def test_who_leaves_the_file_keeps_its_flows() -> None:
    before = plan(dataplane(WEB), HERE, sight())
    less = dataplane(replace(WEB, backends=(A2, A3)))
    after = plan(less, HERE, sight(now_s=1001.0, active=before.active))
    one = of(after)["a1"]
    assert (one.standing, one.reason, one.until_s) == (Standing.DRAINING, "no longer in the file", 1061.0)
    assert one.record is not None
    still = plan(less, HERE, sight(now_s=1050.0, active=after.active, left=after.left))
    assert of(still)["a1"].until_s == 1061.0
    assert "a1" not in of(plan(less, HERE, sight(now_s=1061.0, active=still.active, left=still.left)))
    again = plan(dataplane(WEB), HERE, sight(now_s=1055.0, active=still.active, left=still.left))
    assert of(again)["a1"].standing is Standing.ACTIVE


def test_services_whose_names_begin_alike_are_told_apart() -> None:
    left = {"web2/a1": Left(service="web2", backend=A1, since_s=990.0, drain_s=60.0)}
    found = plan(dataplane(WEB, replace(WEB, name="web2", backends=(A2,))), HERE, sight(left=left))
    assert of(found)["a1"].standing is Standing.ACTIVE
    assert of(found, "web2")["a1"].standing is Standing.DRAINING


def test_next_hops() -> None:
    flat = replace(WEB, backends=(A1, A2, replace(A3, wrap=Wrap.L2), replace(B1, region=None, wrap=Wrap.L2, mac=MAC)))
    assert next_hops(dataplane(flat), HERE) == {RACK, A3.address}
    alone = replace(HERE, gateways=())
    assert next_hops(dataplane(WEB), alone) == {A1.address, A2.address, A3.address}
    found = of(plan(dataplane(flat), HERE, sight()))
    assert (found["a3"].standing, found["a3"].reason) == (Standing.OUT, "no MAC for fd00::13")
    own = found["b1"].record
    assert own is not None
    assert (own.wrap, own.mac) == (RecordWrap.L2, MAC)


def test_vips_and_servers() -> None:
    quic = Port(protocol="udp", port=443, quic=QuicLb(lengths={0: 2, 1: 3}))
    first, second = replace(A1, server_ids=(b"\1\2", b"\1\2\3")), replace(A2, server_ids=(b"\7\7",))
    service = replace(WEB, ports=(WEB.ports[0], quic), backends=(first, second), echo=False)
    found = plan(dataplane(service), HERE, sight(judgements=judged(a2=Health.DOWN)))
    vips = found.vips({"web": 7})
    assert sorted((port, protocol) for _, port, protocol in vips) == sorted(
        [(443, TCP), (443, UDP), (0, TCP), (0, UDP)] * 2
    )
    assert {vip.ring for vip in vips.values()} == {7}
    assert {key[2] for key, vip in vips.items() if vip.quic} == {UDP}
    assert found.servers({"web": 7}, {"web/a1": 1, "web/a2": 2}) == {(7, 0, b"\1\2"): 1, (7, 1, b"\1\2\3"): 1}
    echoing = plan(dataplane(WEB), HERE, sight()).vips({"web": 7})
    assert {protocol for _, port, protocol in echoing if port == 0} == {TCP, UDP, ICMP, ICMP6}
    assert {vip.track for key, vip in echoing.items() if key[1:] == (443, UDP)} == {True}
