"""What a protection tells the guard."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.balance import MAPPED
from gtm.decide.guard import Bucket, Reason
from gtm.decide.guard_policy import AHEAD_MAX, REASONS, Machine, bucket, policy
from gtm.model.balance import Mode, Protection, Rate, Rule, Service, SourceRate, SynFlood

MACHINE = Machine(jiffies_per_s=250, cpus=2)
SECOND = 250 << 20  # in ticks


def service(name: str, *vips: str) -> Service:
    return Service(name=name, vips=tuple(ip_address(each) for each in vips), ports=(), backends=())


def packed(vip: str) -> bytes:
    address = ip_address(vip)
    return MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def test_every_reason_belongs_to_one_rule() -> None:
    assert sorted(reason for reasons in REASONS.values() for reason in reasons) == list(Reason)
    assert set(REASONS) == set(Rule)


def test_modes_of_rules() -> None:
    found = policy(Protection(), (), MACHINE, seed=(1, 2))
    assert (found.on, found.dry) == (frozenset({*REASONS[Rule.MALFORMED], Reason.DENY}), frozenset())
    modes: Mapping[Rule, Mode] = {Rule.MARTIAN: Mode.DRY_RUN, Rule.DENY: Mode.OFF, Rule.FRAGMENT: Mode.ON}
    found = policy(Protection(rules=modes), (), MACHINE, seed=(1, 2))
    assert (found.on, found.dry) == (frozenset({Reason.FRAGMENT}), frozenset({Reason.MARTIAN}))


def test_rates_of_vips() -> None:
    """A service's own rate, or that of all; shared addresses; each CPU's share."""
    services = (
        service("one", "192.0.2.1", "192.0.2.9"),
        service("two", "192.0.2.2", "192.0.2.9", "2001:db8::2"),
        service("free", "192.0.2.3", "2001:db8::2"),
    )
    rates = {"one": Rate(packets_per_s=1000, burst=100), "two": Rate(packets_per_s=500, burst=10)}
    targets = policy(Protection(vip_rates=rates), services, MACHINE, seed=(1, 2)).targets
    assert set(targets) == {packed(str(vip)) for each in services for vip in each.vips}
    found = {vip: targets[packed(vip)].packets for vip in ("192.0.2.1", "192.0.2.9", "192.0.2.3", "2001:db8::2")}
    cost = SECOND // 500
    assert found["192.0.2.1"] == Bucket(cost=cost, burst=50 * cost)
    assert found["192.0.2.9"] == Bucket(cost=SECOND * 2 // 1500, burst=55 * (SECOND * 2 // 1500))
    assert found["192.0.2.3"] is found["2001:db8::2"] is None
    everyone = Protection(vip_rates=rates, vip_rate=Rate(packets_per_s=2, burst=2))
    targets = policy(everyone, services, MACHINE, seed=(1, 2)).targets
    assert targets[packed("192.0.2.3")].packets == Bucket(cost=SECOND, burst=SECOND + (1 << 20))


def test_lists_and_sources() -> None:
    nine, eight = ip_network("9.9.9.0/24"), ip_network("8.8.8.0/24")
    rate = SourceRate(rate=Rate(packets_per_s=100, burst=7), prefix4=32, prefix6=64)
    given = Protection(deny=(nine,), allow=(eight,), source_rate=rate, amplifiers=(53,))
    found = policy(given, (), MACHINE, seed=(1, 2), allow=(nine,), deny=(eight,))
    assert (found.allow, found.deny) == ((eight, nine), (nine, eight))
    assert (found.prefix4, found.prefix6, found.amplifiers) == (32, 64, frozenset({53}))
    assert found.source == Bucket(cost=SECOND // 100, burst=7 * SECOND // 100)  # a source's is not shared out


@pytest.mark.parametrize(
    ("mode", "jiffies", "learn", "counted"),
    [(SynFlood.OFF, 0, True, False), (SynFlood.AUTO, 2500, True, True), (SynFlood.ON, 0, False, False)],
)
def test_floods(mode: SynFlood, jiffies: int, *, learn: bool, counted: bool) -> None:
    given = Protection(syn_flood=mode, syn_rate=1000)
    found = policy(given, (service("one", "192.0.2.1"),), MACHINE, seed=(1, 2))
    assert (found.flood_jiffies, found.learn) == (jiffies, learn)
    syns = found.targets[packed("192.0.2.1")].syns
    assert syns == (Bucket(cost=SECOND // 500, burst=50 * (SECOND // 500)) if counted else None)


@given(
    rate=st.integers(1, 10**9),
    burst=st.integers(1, 10**9),
    hz=st.sampled_from((100, 250, 300, 1000)),
    cpus=st.integers(1, 64),
)
def test_a_bucket_gives_its_rate(rate: int, burst: int, hz: int, cpus: int) -> None:
    """Within the clock's grain: half a tick a packet; never less than what comes in one jiffy, or one packet."""
    made = bucket(Rate(packets_per_s=rate, burst=burst), hz, cpus=cpus)
    assert abs(made.cost - (hz << 20) * cpus / rate) <= max(0.5, 1 - (hz << 20) * cpus / rate)
    assert made.cost <= made.burst <= max(AHEAD_MAX, made.cost)
    assert made.burst >= min(1 << 20, AHEAD_MAX)
