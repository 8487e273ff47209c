"""Token buckets of source prefixes and VIPs, floods of SYNs, and random packets through kernel and model."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from random import Random

import pytest

from gtm.decide.balance import TCP, UDP
from gtm.decide.guard import Limits, Policy, Reason, State, judge, source_line
from gtm.decide.guard_policy import bucket
from gtm.model.balance import Rate
from gtm.publish.dataplane import jiffies
from tests.dataplane import world as w
from tests.dataplane.cases import all_cases
from tests.dataplane.guarded import DROP, EVERY, PASS, VIP, Guarded, guarded, policy, slow
from tests.dataplane.test_differential import PACKETS, mutate
from tests.dataplane.test_guard import CASES, LISTS, told

ROUND = 2000  # packets between which all buckets are filled: fewer than come in the time of one token
NOW = 1 << 32
DEADLINE_S = 60.0
ONLY_SOURCES, ONLY_VIPS = frozenset({Reason.SOURCE_RATE}), frozenset({Reason.VIP_RATE})


@pytest.fixture(scope="module")
def there(built: Path) -> Iterator[Guarded]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with guarded(built) as found:
        yield found


def _frame(source: str, *, flags: int = w.ACK, number: int = VIP) -> bytes:
    family = 6 if ":" in source else 4
    return w.frame(w.packet(family, w.vip(family, number), w.tcp(flags=flags), source=source))


def _runs(there: Guarded, source: str, count: int) -> list[int]:
    return [there.run(_frame(source)) for _ in range(count)]


@pytest.mark.parametrize(
    ("one", "same", "other", "prefixes"),
    [
        ("8.8.8.8", "8.8.8.255", "8.8.9.8", {}),
        ("8.8.8.8", "8.8.8.8", "8.8.8.9", {"prefix4": 32}),
        ("2a00:0:0:1ff::1", "2a00:0:0:100::2", "2a00:0:0:200::1", {}),
        ("2a00:0:0:1ff::1", "2a00:0:0:1ff:1::2", "2a00:0:0:1fe::1", {"prefix6": 64}),
    ],
)
def test_a_prefix_has_one_bucket(there: Guarded, one: str, same: str, other: str, prefixes: dict[str, int]) -> None:
    there.guard.set_policy(policy(on=ONLY_SOURCES, source=slow(3), **prefixes))
    there.forget()
    assert _runs(there, one, 2) == [PASS] * 2
    assert _runs(there, same, 2) == [PASS, DROP]
    assert _runs(there, other, 4) == [PASS] * 3 + [DROP]
    assert _runs(there, one, 1) == [DROP]


def test_a_dry_bucket_counts_and_a_rule_that_is_off_takes_nothing(there: Guarded) -> None:
    there.forget()
    there.counted()
    for rules, counted in ((frozenset(), {"PASSED": 9}), (ONLY_SOURCES, {"PASSED": 9, "would SOURCE_RATE": 6})):
        there.guard.set_policy(policy(dry=rules, source=slow(3)))
        assert _runs(there, "8.8.8.8", 9) == [PASS] * 9
        assert there.counted() == counted


def test_a_vip_has_a_bucket(there: Guarded) -> None:
    """Whoever sends; another VIP has its own, and one without a rate any number."""
    targets = {w.packed(w.vip(4, number)): Limits(packets=slow(4)) for number in (2, 3)}
    targets[w.packed(w.vip(4, 4))] = Limits()
    there.guard.set_policy(Policy(seed=w.SEED, on=ONLY_VIPS, targets=targets))
    there.forget()
    for number, passed in ((2, 4), (3, 4), (4, 9)):
        found = [there.run(_frame(f"8.8.{each}.8", number=number, flags=w.SYN)) for each in range(9)]
        assert found == [PASS] * passed + [DROP] * (9 - passed)
        assert there.run(_frame("8.8.8.8", number=number)) == PASS  # a connection under way does not starve


def test_what_a_rule_drops_takes_no_tokens_of_the_next(there: Guarded) -> None:
    targets = {w.packed(w.vip(4, VIP)): Limits(packets=slow(4))}
    there.guard.set_policy(Policy(seed=w.SEED, on=ONLY_SOURCES | ONLY_VIPS, targets=targets, source=slow(1)))
    there.forget()
    assert [there.run(_frame("8.8.8.8", flags=w.SYN)) for _ in range(5)] == [PASS] + [DROP] * 4
    assert [there.run(_frame(f"8.9.{each}.8", flags=w.SYN)) for each in range(5)] == [PASS] * 3 + [DROP] * 2


def _neighbours(rules: Policy, count: int) -> list[IPv4Address]:
    """Sources whose prefixes share a line of eight: any line that has so many among a million prefixes."""
    lines = defaultdict[int, list[IPv4Address]](list)
    for number in range(1 << 16, 1 << 24):
        source = IPv4Address(number << 8 | 1)
        found = lines[source_line(w.packed(str(source)), rules, six=False)[1]]
        found.append(source)
        if len(found) == count:
            return found
    raise AssertionError


def test_a_full_line_gives_up_the_bucket_that_is_the_fullest(there: Guarded) -> None:
    rules = policy(on=ONLY_SOURCES, source=slow(12))
    there.guard.set_policy(rules)
    there.forget()
    state = State()
    sources = [str(each) for each in _neighbours(rules, 9)]
    order = [source for at, source in enumerate(sources[:8]) for _ in range(at + 2)]  # the first has taken the least
    for source in [*order, sources[8], *sources[1:], sources[0]]:
        frame = _frame(source)
        assert there.run(frame) == PASS
        assert told(frame, rules, state) == {"PASSED": 1}
    (line,) = state.sources
    kernel = there.guard.sources["source"][line]
    assert [int(entry) >> 40 for entry in kernel] == [entry >> 40 for entry in state.sources[line]]


def test_tokens_grow_again(there: Guarded) -> None:
    """A source that was refused is let through when its time has come, and no sooner than at its rate."""
    rate = jiffies.measure().rate_per_s
    there.guard.set_policy(policy(on=ONLY_SOURCES, source=bucket(Rate(packets_per_s=2, burst=1), rate)))
    there.forget()
    frame, begun, passed = _frame("8.8.8.8"), time.monotonic(), 0
    while passed < 4 and time.monotonic() < begun + DEADLINE_S:
        passed += there.run(frame) == PASS
    assert passed == 4
    assert there.counted()["dropped SOURCE_RATE"] > 0


def test_a_moment_long_past_is_a_full_bucket(there: Guarded) -> None:
    """Whatever a line holds that is no moment ahead of now within the burst."""
    rules = policy(on=ONLY_SOURCES, source=slow(2))
    there.guard.set_policy(rules)
    tag, line = source_line(w.packed("8.8.8.8"), rules, six=False)
    now = jiffies.measure().at(time.monotonic()) << 20
    for moment in (now - (1 << 20), now - (1 << 38), now - (1 << 39), now + (1 << 39)):
        there.guard.sources["source"][line] = [0] * 8
        there.guard.sources["source"][line][3] = tag << 40 | moment & (1 << 40) - 1
        assert _runs(there, "8.8.8.8", 3) == [PASS, PASS, DROP]


def test_a_flood_of_syns(there: Guarded) -> None:
    """Beyond its rate a VIP's flows are not learnt for a while, and nothing is dropped; only SYNs count."""
    targets = {w.packed(w.vip(4, number)): Limits(syns=slow(3)) for number in (2, 3)}
    there.guard.set_policy(Policy(seed=w.SEED, targets=targets, flood_jiffies=1000))
    there.forget()
    there.counted()
    vips = [w.packed(w.vip(4, number)) for number in (2, 3)]
    assert _runs(there, "8.8.8.8", 9) == [PASS] * 9
    assert (there.counted(), there.guard.flooded(vips[0])) == ({"PASSED": 9}, 0)
    assert [there.run(_frame("8.8.8.8", flags=w.SYN)) for _ in range(9)] == [PASS] * 9
    assert there.counted() == {"PASSED": 9, "FLOODED": 6}
    now = jiffies.measure().at(time.monotonic())
    assert now < there.guard.flooded(vips[0]) <= now + 1000
    assert there.guard.flooded(vips[1]) == 0
    there.guard.set_policy(Policy(seed=w.SEED, targets=targets, learn=False))
    assert {there.guard.flooded(each) for each in vips} == {(1 << 64) - 1}
    there.guard.set_policy(Policy(seed=w.SEED, targets=targets))
    assert {there.guard.flooded(each) for each in vips} == {0}


def _policies() -> Iterator[Policy]:
    random = Random(3)
    allow = (ip_network("198.51.100.16/28"), ip_network("2001:db8:c::10/124"))
    limits = {address: Limits(packets=slow(300), syns=slow(60)) for address in policy().targets}
    for _ in range(6):
        on = frozenset(random.sample(sorted(Reason), random.randrange(len(Reason) + 1)))
        yield replace(
            policy(**LISTS),
            seed=(random.getrandbits(64), random.getrandbits(64)),
            on=on,
            dry=EVERY - on if random.random() < 0.7 else frozenset(),
            targets=limits,
            allow=allow,
            source=slow(12),
            prefix4=random.choice((24, 30, 32)),
            prefix6=random.choice((56, 64)),
            flood_jiffies=random.choice((0, 100)),
        )


def _random_frame(random: Random) -> bytes:
    family = random.choice(w.FAMILIES)
    sport, host = random.choice((53, 123, 1024, 40000)), random.randrange(64)
    source = f"198.51.100.{host}" if family == 4 else f"2001:db8:c::{host:x}"
    if random.random() < 0.4:
        payload, protocol = w.udp(sport=sport), UDP
    else:
        payload, protocol = w.tcp(sport=sport, flags=random.choice((w.SYN, w.ACK, 0x12, 0x11, 0x04, 0x03, 0))), TCP
    ip = w.packet(family, w.vip(family, VIP), payload, protocol=protocol, source=source)
    return w.frame(ip, tags=random.randrange(3))


def test_random_and_mutated_packets(there: Guarded) -> None:
    random, policies = Random(4), list(_policies())
    corpus = [case.frame for case in CASES] + [case.frame for case in all_cases() if len(case.frame) < 200]
    for begun in range(0, PACKETS, ROUND):
        rules, state = policies[begun // ROUND % len(policies)], State()
        there.guard.set_policy(rules)
        there.forget()
        there.counted()
        expected: Counter[str] = Counter()
        for number in range(begun, min(begun + ROUND, PACKETS)):
            choice = random.random()
            frame = _random_frame(random) if choice < 0.5 else random.choice(corpus)
            frame = frame if choice < 0.3 else mutate(random, frame)
            judged = judge(frame, rules, state, jiffies=NOW)
            dropped = isinstance(judged.outcome, Reason)
            expected[f"dropped {judged.outcome.name}" if dropped else judged.outcome.name] += 1
            expected.update(f"would {each.name}" for each in judged.would)
            expected["FLOODED"] += judged.flooded
            assert there.run(frame) == (DROP if dropped else PASS), f"packet {number}, {judged}: {frame.hex()}"
        assert there.counted() == {name: count for name, count in expected.items() if count}
