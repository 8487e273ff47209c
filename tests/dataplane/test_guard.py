"""What the guard drops, by rule, in the kernel and in the model; allowed sources, dry rules, and what is no VIP's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from struct import pack
from typing import NamedTuple

import pytest

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP
from gtm.decide.guard import Pass, Policy, Reason, State, judge
from tests.dataplane import world as w
from tests.dataplane.guarded import DROP, EVERY, PASS, VIP, Guarded, guarded, policy

CLIENT = {4: "8.8.8.8", 6: "2a00::7"}  # no martians
DENIED = {4: "9.9.9.9", 6: "2a00:9::9"}
AMPLIFIER = 123


class Case(NamedTuple):
    name: str
    frame: bytes
    reason: Reason | None


def _ip(family: int, payload: bytes, protocol: int = TCP, source: str = "") -> bytes:
    return w.packet(family, w.vip(family, VIP), payload, protocol=protocol, source=source or CLIENT[family])


def _piece(offset: int, payload: bytes, protocol: int, family: int, *, more: bool) -> bytes:
    if family == 6:
        return _ip(6, pack("!BBHI", protocol, 0, offset | more, 9) + payload, 44)
    whole = bytearray(_ip(4, payload, protocol))
    whole[6:8] = pack("!H", offset >> 3 | more << 13)
    return bytes(whole)


def cases() -> Iterator[Case]:
    for family in w.FAMILIES:
        for tags in range(3):
            yield from (
                Case(f"v{family}-{tags}tags-{name}", w.frame(ip, tags=tags), reason)
                for name, ip, reason in _packets(family)
            )


def _packets(family: int) -> Iterator[tuple[str, bytes, Reason | None]]:
    icmp = ICMP if family == 4 else ICMP6
    yield "tcp", _ip(family, w.tcp()), None
    yield "syn", _ip(family, w.tcp(flags=w.SYN)), None
    yield "udp", _ip(family, w.udp(), UDP), None
    yield "echo", _ip(family, w.echo(family), icmp), None
    yield "other-protocol", _ip(family, b"", 47), None
    yield "denied", _ip(family, w.tcp(), source=DENIED[family]), Reason.DENY
    for flags in range(64):
        wrong = any(flags & both == both for both in (3, 5, 6)) or not flags & 0x16
        yield f"flags-{flags:02x}", _ip(family, w.tcp(flags=flags | 0xC0)), Reason.FLAGS if wrong else None
    for size in (0, 7, 19):
        yield f"tcp-of-{size}", _ip(family, w.tcp()[:size]), Reason.LENGTH
    yield "tcp-header-16", _ip(family, w.tcp()[:12] + b"\x40" + w.tcp()[13:]), Reason.LENGTH
    yield "tcp-header-60", _ip(family, w.tcp()[:12] + b"\xf0" + w.tcp()[13:]), Reason.LENGTH
    yield "tcp-to-port-0", _ip(family, w.tcp(dport=0)), Reason.PORT
    yield "tcp-from-port-0", _ip(family, w.tcp(sport=0)), Reason.PORT
    yield "udp-to-port-0", _ip(family, w.udp(dport=0), UDP), Reason.PORT
    yield "udp-from-port-0", _ip(family, w.udp(sport=0), UDP), None
    yield "udp-of-7", _ip(family, w.udp()[:7], UDP), Reason.LENGTH
    for length, reason in ((0, Reason.LENGTH), (7, Reason.LENGTH), (8, None), (15, None), (16, Reason.LENGTH)):
        yield f"udp-says-{length}", _ip(family, w.udp()[:4] + pack("!H", length) + w.udp()[6:], UDP), reason
    yield "icmp-of-7", _ip(family, w.echo(family)[:7], icmp), Reason.LENGTH
    yield "longer-than-the-frame", _ip(family, w.tcp())[:-1], Reason.LENGTH
    yield "land", _ip(family, w.tcp(), source=w.vip(family, VIP)), Reason.LAND
    yield "amplifier", _ip(family, w.udp(sport=AMPLIFIER), UDP), Reason.AMPLIFICATION
    yield "tcp-from-an-amplifiers-port", _ip(family, w.tcp(sport=AMPLIFIER)), None
    yield "to-an-amplifiers-port", _ip(family, w.udp(dport=AMPLIFIER), UDP), None
    yield from _pieces(family)
    yield from _martians(family)
    if family == 4:
        yield "header-of-16", b"\x44" + _ip(4, w.tcp())[1:], Reason.LENGTH
        yield "length-19", _ip(4, w.tcp())[:2] + b"\0\x13" + _ip(4, w.tcp())[4:], Reason.LENGTH
        yield "options", b"\x46" + _ip(4, bytes(4) + w.tcp(flags=0))[1:], None
        yield "options-longer-than-all", b"\x4f" + _ip(4, w.tcp())[1:], Reason.LENGTH
    else:
        yield "extension", _ip(6, bytes([6, 0]) + bytes(6) + w.tcp(flags=0), 60), None
        yield "fragment-header-of-7", _ip(6, bytes([6, 0, 0, 0, 0, 0, 0]), 44), Reason.LENGTH


def _pieces(family: int) -> Iterator[tuple[str, bytes, Reason]]:
    for name, offset, payload, protocol, more, reason in (
        ("first", 0, w.tcp()[:20] + bytes(4), TCP, True, Reason.FRAGMENT),
        ("middle", 64, bytes(16), TCP, True, Reason.FRAGMENT),
        ("last", 64, bytes(15), UDP, False, Reason.FRAGMENT),
        ("first-of-an-amplifier", 0, w.udp(sport=AMPLIFIER, payload=bytes(8)), UDP, True, Reason.FRAGMENT),
        ("first-of-udp", 0, w.udp(payload=bytes(8))[:4] + b"\x7f\xff" + bytes(10), UDP, True, Reason.FRAGMENT),
        ("tiny-first", 0, w.tcp()[:16], TCP, True, Reason.PIECE),
        ("no-udp-header", 0, bytes(0), UDP, True, Reason.PIECE),
        ("over-the-flags", 8, bytes(16), TCP, True, Reason.PIECE),
        ("over-the-flags-last", 16, bytes(16), TCP, False, Reason.PIECE),
        ("udp-behind-8", 8, bytes(16), UDP, False, Reason.FRAGMENT),
        ("uneven", 64, bytes(15), UDP, True, Reason.PIECE),
        ("empty", 64, bytes(0), UDP, True, Reason.PIECE),
        ("of-death", 65528, bytes(8), ICMP, False, Reason.PIECE),
        ("header-beyond", 0, w.tcp()[:12] + b"\xf0" + w.tcp()[13:20] + bytes(4), TCP, True, Reason.PIECE),
        ("wrong-flags", 0, w.tcp(flags=3)[:24], TCP, True, Reason.FLAGS),
    ):
        yield f"fragment-{name}", _piece(offset, payload, protocol, family, more=more), reason


def _martians(family: int) -> Iterator[tuple[str, bytes, Reason | None]]:
    no4 = "0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.1.1 172.16.0.1 172.31.255.255 192.0.0.8"
    no4 += " 192.0.2.9 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.1 255.255.255.255"
    yes4 = "1.0.0.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 169.253.1.1 172.15.255.255 172.32.0.0 192.0.1.1"
    yes4 += " 192.0.3.0 192.167.0.1 192.169.0.0 198.17.255.255 198.20.0.0 198.51.101.0 203.0.112.0 223.255.255.255"
    no6 = ":: ::1 ::ffff:8.8.8.8 64:ff9b:1::1 100::1 2001:db8::1 2001:2::1 3fff::1 3fff:fff::1 4000::1 fc00::1 fe80::1"
    yes6 = "64:ff9b::808:808 2001::1 2001:3::1 2001:db9::1 2000:: 3ffe::1 3fff:1000::1 2a00::1"
    for text, reason in ((no4, Reason.MARTIAN), (yes4, None)) if family == 4 else ((no6, Reason.MARTIAN), (yes6, None)):
        for source in text.split():
            ip = _ip(family, w.tcp())
            at = slice(12, 16) if family == 4 else slice(8, 24)
            sender = w.packed(source)[-16 if family == 6 else -4 :]
            yield f"from-{source}", ip[: at.start] + sender + ip[at.stop :], reason


CASES = list(cases())
LISTS = {
    "deny": tuple(ip_network(each) for each in DENIED.values()),
    "amplifiers": frozenset({AMPLIFIER}),
}


@pytest.fixture(scope="module")
def there(built: Path) -> Iterator[Guarded]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with guarded(built) as found:
        yield found


def told(frame: bytes, rules: Policy, state: State | None = None) -> dict[str, int]:
    """What the model counts."""
    judged = judge(frame, rules, state or State(), jiffies=1 << 32)
    outcome = judged.outcome
    found = {outcome.name if isinstance(outcome, Pass) else f"dropped {outcome.name}": 1}
    return found | ({"FLOODED": 1} if judged.flooded else {}) | {f"would {each.name}": 1 for each in judged.would}


def test_there_are_enough_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 300


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model(case: Case) -> None:
    wanted = {"PASSED": 1} if case.reason is None else {f"dropped {case.reason.name}": 1}
    assert told(case.frame, policy(on=EVERY, **LISTS)) == wanted


def test_every_rule_is_on(there: Guarded) -> None:
    there.guard.set_policy(policy(on=EVERY, **LISTS))
    there.counted()
    for case in CASES:
        action, counted = there.run(case.frame), there.counted()
        wanted = (PASS, {"PASSED": 1}) if case.reason is None else (DROP, {f"dropped {case.reason.name}": 1})
        assert (action, counted) == wanted, case.name


def test_every_rule_is_dry(there: Guarded) -> None:
    rules = policy(dry=EVERY, **LISTS)
    there.guard.set_policy(rules)
    there.counted()
    for case in CASES:
        action, counted = there.run(case.frame), there.counted()
        assert action == PASS
        assert counted == told(case.frame, rules), case.name
        assert (case.reason is None) == (counted == {"PASSED": 1}), case.name


def test_one_rule_alone(there: Guarded) -> None:
    for reason in Reason:
        rules = policy(on=frozenset({reason}), dry=EVERY - {reason}, **LISTS)
        there.guard.set_policy(rules)
        there.counted()
        for case in CASES:
            action, counted = there.run(case.frame), there.counted()
            assert counted == told(case.frame, rules), (reason.name, case.name)
            assert action == (DROP if f"dropped {reason.name}" in counted else PASS)


def test_no_rule_and_no_vip(there: Guarded) -> None:
    """With every rule off, and with rules but another VIP, everything goes on."""
    for rules, way in ((policy(**LISTS), "PASSED"), (Policy(seed=w.SEED, on=EVERY), "NOT_VIP")):
        there.guard.set_policy(rules)
        there.counted()
        for case in CASES:
            assert there.run(case.frame) == PASS
        assert there.counted() == {way: len(CASES)}


def test_what_is_not_ip_goes_on(there: Guarded) -> None:
    there.guard.set_policy(policy(on=EVERY, **LISTS))
    arp = w.LB + w.ROUTER + b"\x08\x06" + bytes(28)
    three = w.LB + w.ROUTER + b"\x81\x00\x00\x05" * 3 + b"\x08\x00" + bytes(40)
    there.counted()
    for frame in (arp, three, w.LB + w.ROUTER + b"\x81\x00"):
        assert there.run(frame) == PASS
        assert told(frame, policy(on=EVERY)) == {"NOT_IP": 1}
    assert there.counted() == {"NOT_IP": 3}


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("tags", range(3))
def test_truncated_at_every_byte(there: Guarded, family: int, tags: int) -> None:
    """Cut before its addresses end, a frame goes on; behind them, it has not the length that it says."""
    rules = policy(on=EVERY)
    there.guard.set_policy(rules)
    whole = w.frame(_ip(family, w.tcp()), tags=tags)
    there.counted()
    for size in range(14, len(whole)):
        known = size >= 14 + 4 * tags + (20 if family == 4 else 40)
        action, counted = there.run(whole[:size]), there.counted()
        assert (action, counted) == (DROP if known else PASS, {"dropped LENGTH" if known else "NOT_IP": 1})
        assert told(whole[:size], rules) == counted


def test_allowed_sources_beat_every_rule(there: Guarded) -> None:
    allow = tuple(ip_network(each) for each in (*CLIENT.values(), *DENIED.values()))
    rules = policy(on=EVERY, allow=allow, **LISTS)
    there.guard.set_policy(rules)
    there.counted()
    for case in CASES:
        there.run(case.frame)
        assert there.counted() == told(case.frame, rules), case.name
    wrong = w.frame(_ip(4, w.tcp(flags=0)))
    assert (there.run(wrong), there.counted()) == (PASS, {"ALLOWED": 1})


def test_a_policy_replaced_as_packets_come(there: Guarded) -> None:
    """VIPs come and go; those that stay keep their numbers, and none is missed."""
    frame = w.frame(_ip(4, w.tcp(flags=0)))
    for number in range(50):
        others = {w.packed(f"192.0.3.{each}"): next(iter(policy().targets.values())) for each in range(number)}
        rules = Policy(seed=w.SEED, on=EVERY, targets={**policy().targets, **others})
        there.guard.set_policy(rules)
        for address in others:
            at = w.frame(w.packet(4, ".".join(map(str, address[12:])), w.tcp(flags=0), source=CLIENT[4]))
            assert there.run(at) == DROP
        assert there.run(frame) == DROP
