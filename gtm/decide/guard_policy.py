"""What a deployment's protection tells the guard of one machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from gtm.decide.balance import MAPPED
from gtm.decide.guard import TICK_SHIFT, Bucket, Limits, Policy, Reason
from gtm.model.address import IPNetwork
from gtm.model.balance import Mode, Protection, Rate, Rule, Service, SynFlood

REASONS: Mapping[Rule, tuple[Reason, ...]] = {
    Rule.DENY: (Reason.DENY,),
    Rule.MALFORMED: (Reason.LENGTH, Reason.FLAGS, Reason.PORT, Reason.LAND, Reason.PIECE),
    Rule.MARTIAN: (Reason.MARTIAN,),
    Rule.FRAGMENT: (Reason.FRAGMENT,),
    Rule.AMPLIFICATION: (Reason.AMPLIFICATION,),
    Rule.SOURCE_RATE: (Reason.SOURCE_RATE,),
    Rule.VIP_RATE: (Reason.VIP_RATE,),
}
AHEAD_MAX = 1 << 37  # an eighth of what a moment of 40 bits can say: what is further ahead is long past
SYN_BURST_S = 0.1
FLOOD_S = 10  # how long a flood lasts beyond its last SYN too many


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Jiffies a second, and how many CPUs take a VIP's packets: each has its share of the VIP's rate."""

    jiffies_per_s: int
    cpus: int


def policy(
    protection: Protection,
    services: Iterable[Service],
    machine: Machine,
    *,
    seed: tuple[int, int],
    allow: tuple[IPNetwork, ...] = (),
    deny: tuple[IPNetwork, ...] = (),
) -> Policy:
    """The policy of one machine; `allow` and `deny` are what the protection's files hold.

    An address that several services share takes what they may take together, and any number if one of them may.
    """
    rates: dict[bytes, Rate | None] = {}
    for service in services:
        rate = protection.vip_rates.get(service.name, protection.vip_rate)
        for vip in service.vips:
            packed = MAPPED + vip.packed if isinstance(vip, IPv4Address) else vip.packed
            rates[packed] = _together(rates[packed], rate) if packed in rates else rate
    source = protection.source_rate
    syns = Rate(packets_per_s=protection.syn_rate, burst=max(1, round(protection.syn_rate * SYN_BURST_S)))
    auto = protection.syn_flood is SynFlood.AUTO
    return Policy(
        seed=seed,
        on=_in_mode(protection, Mode.ON),
        dry=_in_mode(protection, Mode.DRY_RUN),
        allow=(*protection.allow, *allow),
        deny=(*protection.deny, *deny),
        amplifiers=frozenset(protection.amplifiers),
        source=None if source is None else bucket(source.rate, machine.jiffies_per_s),
        prefix4=24 if source is None else source.prefix4,
        prefix6=56 if source is None else source.prefix6,
        targets={
            address: Limits(
                packets=None if rate is None else bucket(rate, machine.jiffies_per_s, cpus=machine.cpus),
                syns=bucket(syns, machine.jiffies_per_s, cpus=machine.cpus) if auto else None,
            )
            for address, rate in rates.items()
        },
        flood_jiffies=FLOOD_S * machine.jiffies_per_s if auto else 0,
        learn=protection.syn_flood is not SynFlood.ON,
    )


def bucket(rate: Rate, jiffies_per_s: int, *, cpus: int = 1) -> Bucket:
    """A rate's share of one CPU.

    Its burst is at least what comes within one jiffy, as the clock shows no less, and one packet more; at most what
    eight minutes (at 250 jiffies a second) bring.
    """
    cost = max(1, round((jiffies_per_s << TICK_SHIFT) * cpus / rate.packets_per_s))
    least = (1 << TICK_SHIFT) + cost
    return Bucket(cost=cost, burst=max(cost, min(max(least, rate.burst * cost // cpus), AHEAD_MAX)))


def _together(one: Rate | None, other: Rate | None) -> Rate | None:
    if one is None or other is None:
        return None
    return Rate(packets_per_s=one.packets_per_s + other.packets_per_s, burst=one.burst + other.burst)


def _in_mode(protection: Protection, mode: Mode) -> frozenset[Reason]:
    rules = (rule for rule in Rule if protection.rules.get(rule, Mode.OFF) is mode)
    return frozenset(reason for rule in rules for reason in REASONS[rule])
