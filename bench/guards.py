"""Guards for bench/l4.py, each with a policy of its own before the same balancer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from random import Random

from gtm.decide.balance import TCP
from gtm.decide.guard import Bucket, Limits, Policy, Reason
from gtm.decide.guard_policy import REASONS
from gtm.model.balance import Rule
from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.guard import Guard
from tests.dataplane import world as w

MANY = 100_000
SLOW = Bucket(cost=1 << 34, burst=1 << 34)  # one packet a minute
WIDE = Bucket(cost=1, burst=1 << 30)  # never empty
FREE = Limits(packets=WIDE, syns=WIDE)
EVERY = frozenset(Reason)
ONE, MANY_FLOWS = 1, 1 << 16


def policies() -> dict[str, Policy]:
    """What each guard is told, by name."""
    random = Random(1)
    nobody = tuple(IPv4Network((random.getrandbits(32), 32)) for _ in range(MANY))
    vips = {w.packed(w.vip(family, 3 if family == 6 else 2)): FREE for family in w.FAMILIES}
    empty = Policy(seed=w.SEED, targets=vips)
    # The harness's only flow is from 1.0.0.0; those of IPv6 differ in their last four octets.
    listed = replace(empty, on=frozenset({Reason.DENY}))
    nowhere = replace(listed, deny=(*nobody, ip_network("2a00:1::/64")))
    return {
        "no rule": empty,
        "100k denied, malformed": replace(nowhere, on=frozenset({*REASONS[Rule.MALFORMED], Reason.DENY})),
        "every rule": replace(nowhere, on=EVERY - {Reason.MARTIAN}, source=WIDE, flood_jiffies=1),
        "all denied": replace(listed, deny=(ip_network("0.0.0.0/0"), ip_network("2001::/16"))),
        "denied among 100k /32": replace(
            listed, deny=(*nobody, ip_network("1.0.0.0/32"), ip_network("2001:db8:c::/48"))
        ),
        "source's bucket": replace(empty, on=frozenset({Reason.SOURCE_RATE}), source=SLOW),
        "VIP's bucket": replace(
            empty, on=frozenset({Reason.VIP_RATE}), targets=dict.fromkeys(vips, Limits(packets=SLOW))
        ),
    }


def guards(balancer: bpf.Object) -> dict[str, Guard]:
    """Loaded, and told; none is put before the balancer, as the bench calls them itself."""
    made = {}
    for name, policy in policies().items():
        made[name] = Guard(balancer)
        made[name].set_policy(policy)
    return made


def rows(made: dict[str, Guard]) -> dict[str, tuple[int, bytes, int]]:
    """Program, frame and number of flows by the row's name; with 0 each packet is a new flow."""
    ack, syn, wrong = ({family: _frame(family, flags) for family in w.FAMILIES} for flags in (w.ACK, w.SYN, 0))
    found = {}
    for name in ("no rule", "100k denied, malformed", "every rule"):
        for family in w.FAMILIES:
            found[f"v{family} pass, {name}, 64k flows"] = made[name].program, ack[family], MANY_FLOWS
        found[f"v4 pass, {name}, 1 flow"] = made[name].program, ack[4], ONE
        found[f"v4 pass, {name}, new flow each"] = made[name].program, syn[4], 0
    for family in w.FAMILIES:
        found[f"v{family} drop: all denied, 1 flow"] = made["all denied"].program, ack[family], ONE
        found[f"v{family} drop: all denied, new flow each"] = made["all denied"].program, ack[family], 0
        longer = "denied among 100k /32"
        found[f"v{family} drop: {longer}, 1 flow"] = made[longer].program, ack[family], ONE
        malformed = made["100k denied, malformed"].program
        found[f"v{family} drop: malformed, 64k flows"] = malformed, wrong[family], MANY_FLOWS
        for flows, told in ((ONE, "1 flow"), (1 << 10, "1k"), (MANY_FLOWS, "64k")):
            found[f"v{family} drop: source's bucket, {told}"] = made["source's bucket"].program, ack[family], flows
        for flows, told in ((MANY_FLOWS, "64k flows"), (0, "new flow each")):
            found[f"v{family} drop: VIP's bucket, {told}"] = made["VIP's bucket"].program, syn[family], flows
    return {f"guard, {name}": row for name, row in found.items()}


def _frame(family: int, flags: int) -> bytes:
    return w.frame(w.packet(family, w.vip(family, 3 if family == 6 else 2), w.tcp(flags=flags), protocol=TCP))
