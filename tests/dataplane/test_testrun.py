"""A twin of the programs says of every frame what the programs do, and leaves no trace in what traffic uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from gtm.app.balance.explain import MEANING, BalanceExplained, Names, explained, explained_text
from gtm.app.balance.question import Question, asked, frame
from gtm.cli.main import main
from gtm.decide.balance import Kind, Verdict, balance, checksum, parse
from gtm.decide.guard import Limits, Pass, Policy, Reason, State, judge
from gtm.model.errors import AskedError, PublishError
from gtm.publish.dataplane import guard_layout, layout
from gtm.publish.dataplane.guard import Guard, Load
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.testrun import Twin
from tests.dataplane import world as w
from tests.dataplane.bpffs import mounted
from tests.dataplane.cases import all_cases

MALFORMED = frozenset({Reason.LENGTH, Reason.FLAGS, Reason.PORT, Reason.LAND, Reason.PIECE})
NAMES = Names(
    backends={2: "web/a", w.OTHER: "web/b", 8: "web/second"}, rings={2: "plain", w.MOVING: "moving", 8: "second"}
)


@dataclass(frozen=True)
class Live:
    """What is loaded and pinned, as a manager leaves it."""

    balancer: Balancer
    guard: Guard
    pins: Pins
    built: Path

    def state(self) -> tuple[bytes, ...]:
        """All that the programs write."""
        b, g = self.balancer, self.guard
        written = (b.flows, b.counters["backend"], b.counters["verdict"], g.lanes, g.sources, g.floods)
        return tuple(each.tobytes() for each in written)


def load_guard(pins: Pins) -> Load:
    """How a manager loads the guard's object."""
    version = layout.digest(guard_layout.BY_STRUCT)
    return lambda path, shared: pins.load(path, shared=shared, version=version)


@pytest.fixture(scope="module")
def live(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with mounted(tmp_path_factory.mktemp("twin") / "bpf") as folder:
        pins, tables = Pins(folder / "gtm"), w.tables()
        with (
            Balancer(built / "balance.bpf.o", pins.load) as balancer,
            Guard(balancer.object, built / "guard.bpf.o", load_guard(pins)) as guard,
        ):
            balancer.set_vips(tables.vips, tables.seed)
            balancer.settings["answer_gap_ns"] = 0
            balancer.set_servers(tables.servers, tables.seed)
            balancer.set_backends(tables.backends)
            for number, slots in tables.rings.items():
                balancer.set_ring(number, slots, generation=number + 100)
            yield Live(balancer=balancer, guard=guard, pins=pins, built=built)


@pytest.fixture
def quiet(live: Live) -> Iterator[Live]:
    """Without a guard before the balancer."""
    live.balancer.flows["flow"] = 0
    yield live
    live.guard.remove()


def ask(live: Live, question: Question) -> BalanceExplained:
    with Twin(live.pins, live.built) as twin:
        return explained(question, twin, NAMES)


def packet(ring: int, *, family: int = 4, protocol: str = "tcp", flags: str = "ack", payload: int = 7) -> Question:
    one, other = w.CLIENT[family], w.vip(family, ring)
    ends = (f"{one}:40000", f"{other}:80") if family == 4 else (f"[{one}]:40000", f"[{other}]:80")
    return asked(*ends, protocol, flags=(flags,) if protocol == "tcp" else None, payload_bytes=payload)


def test_every_case_and_no_trace(quiet: Live) -> None:
    """The 300 frames of the packet tests, each after the others, as the model has them."""
    before, tables = quiet.state(), w.tables()
    with Twin(quiet.pins, quiet.built) as twin:
        assert twin.same_code
        for case in all_cases():
            ran, (verdict, out) = twin.run(case.frame, bucket=0), balance(case.frame, tables)
            assert (ran.verdict, ran.frame.hex()) == (verdict, out.hex()), case.name
            assert ran.guard is None
            assert bool(ran.backend) == (verdict in {Verdict.TX_FORWARD, Verdict.TX_ICMP_ERROR}), case.name
    assert quiet.state() == before


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("payload", [0, 7, 1400])
def test_frames_are_whole(family: int, protocol: str, payload: int) -> None:
    """Lengths are right, and sums over what they cover come to zero (RFC 1071)."""
    question = replace(packet(2, family=family, payload=payload), protocol=protocol, flags=())
    made = frame(question, to=w.LB, sender=w.ROUTER)
    found = parse(made)
    assert not isinstance(found, Verdict)
    assert found.length == len(made) - 14
    four, body = family == 4, made[34:] if family == 4 else made[54:]
    number = {"tcp": 6, "udp": 17, "icmp": 1 if four else 58}[protocol]
    addresses = made[26:34] if four else made[22:54]
    covered = body if number == 1 else addresses + len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + body
    covered += bytes(len(covered) % 2)
    total = sum(int.from_bytes(covered[i : i + 2], "big") for i in range(0, len(covered), 2))
    assert total % 0xFFFF == 0


VARIANTS: dict[str, tuple[dict[str, Any], Kind]] = {
    "-> ": ({}, Kind.DATA),
    "VLAN 5": ({"vlans": (5,)}, Kind.DATA),
    "VLAN 5 in 6": ({"vlans": (6, 5)}, Kind.DATA),
    "its first fragment": ({"fragment": True}, Kind.FRAGMENT),
    "an ICMP error that quotes its answer": ({"quoted": True}, Kind.ICMP_ERROR),
    "an ICMP error that quotes its answer, VLAN 5 in 6": ({"quoted": True, "vlans": (6, 5)}, Kind.ICMP_ERROR),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", w.FAMILIES)
def test_what_else_can_be_asked(quiet: Live, family: int, protocol: str, name: str) -> None:
    """Frames are what they say they are, no rule for malformed ones takes them, and they leave as the model has it."""
    changed, kind = VARIANTS[name]
    question = replace(packet(7, family=family, protocol=protocol), **changed)
    made = frame(question, to=w.LB, sender=w.ROUTER)
    found = parse(made)
    assert not isinstance(found, Verdict)
    assert (found.kind, found.l3) == (kind, 14 + 4 * len(question.vlans))
    assert (found.source, found.target) == (w.packed(str(question.source)), w.packed(str(question.target)))
    ported = (40000, 80) if kind is not Kind.FRAGMENT else (0, 0)
    assert (found.source_port, found.target_port) == ported
    head = made[found.l3 : found.l3 + 20]
    assert family == 6 or checksum(head) == 0
    seen = judge(made, Policy(seed=w.SEED, targets={found.target: Limits()}, on=MALFORMED), State(), jiffies=1)
    assert seen.outcome is Pass.PASSED
    told = ask(quiet, question)
    verdict, out = balance(made, w.tables())
    assert told.verdict == verdict.name == ("TX_ICMP_ERROR" if kind is Kind.ICMP_ERROR else "TX_FORWARD")
    assert told.outer is not None
    assert told.outer.frame_bytes == len(out)
    assert told.outer.target == "[fd00::b:7]:6080"
    assert told.row is not None
    assert name in told.packet


def test_a_fragment_asks_no_flow_table(quiet: Live) -> None:
    found = ask(quiet, replace(packet(w.MOVING), fragment=True))
    assert found.flow is not None
    assert (found.backend, found.flow.consulted) == ("web/b", False)
    assert not quiet.balancer.flows["flow"].any()


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("long", [False, True])
def test_a_connection_id_that_names_its_backend(quiet: Live, family: int, *, long: bool) -> None:
    asks = packet(w.QUIC, family=family, protocol="udp")
    for number, (rotation, server_id) in w.SERVER_IDS.items():
        connection_id = bytes([rotation << 5]) + server_id + bytes(4)
        if len(connection_id) > 20:
            continue
        found = ask(quiet, replace(asks, connection_id=connection_id, long_header=long))
        alive = number in w.tables().backends and not w.tables().backends[number].expired
        assert found.server_id == (server_id.hex() if alive else None)
        assert ("names the backend" in explained_text(found)) == alive
        assert connection_id.hex() in found.packet
    unknown = ask(quiet, replace(asks, connection_id=bytes(9), long_header=long))
    assert unknown.server_id is None
    assert unknown.backend is not None


def test_every_verdict_has_a_meaning() -> None:
    assert set(MEANING) == set(Verdict)


def test_a_row_that_does_not_move(quiet: Live) -> None:
    found = ask(quiet, packet(2))
    assert (found.verdict, found.action, found.service, found.backend) == ("TX_FORWARD", "TX", "plain", "web/a")
    assert found.row is not None
    assert (found.row.generation, found.row.rows, found.row.in_transition) == (102, 7, False)
    assert found.flow is not None
    assert not found.flow.consulted
    assert found.outer is not None
    assert (found.outer.wrap, found.outer.target) == ("IPIP", "10.0.0.2")
    assert found.outer.frame_bytes == found.frame_bytes + 20
    assert "so no flow table is asked" in explained_text(found)


def test_a_row_in_transition(quiet: Live) -> None:
    """An unknown connection is the previous owner's, a SYN the new one's; only the copy learns of it."""
    established, syn = ask(quiet, packet(w.MOVING)), ask(quiet, packet(w.MOVING, flags="syn"))
    assert (established.backend, syn.backend) == ("web/b", "web/a")
    assert established.row is not None
    assert (established.row.current, established.row.previous) == ("web/a", "web/b")
    assert established.flow is not None
    assert (established.flow.hit, established.flow.learnt) == (False, "web/b")
    assert not quiet.balancer.flows["flow"].any()


def test_a_flow_that_traffic_has_learnt(quiet: Live) -> None:
    with Twin(quiet.pins, quiet.built) as twin:
        twin.run(frame(packet(w.MOVING, flags="syn"), to=w.LB, sender=w.ROUTER), bucket=0)
        quiet.balancer.flows["flow"] = twin.flows["flow"]
    found = ask(quiet, packet(w.MOVING))
    assert found.flow is not None
    assert (found.flow.hit, found.flow.backend, found.flow.learnt) == (True, "web/a", None)
    assert found.backend == "web/a"


@pytest.mark.parametrize(("number", "wrap"), [(1, "L2"), (3, "IPIP"), (5, "GRE"), (6, "GUE"), (7, "GUE"), (8, "GUE")])
@pytest.mark.parametrize("family", w.FAMILIES)
def test_how_it_leaves(quiet: Live, number: int, wrap: str, family: int) -> None:
    found = ask(quiet, packet(number, family=family))
    backend = w.tables().backends[number]
    assert found.outer is not None
    assert (found.outer.wrap, found.outer.mac) == (wrap, backend.mac.hex(":"))
    if wrap != "L2":
        address = f"fd00::b:{number}" if backend.outer6 else f"10.0.0.{number}"
        ported = f"[{address}]:6080" if backend.outer6 else f"{address}:6080"
        assert found.outer.target == (ported if wrap == "GUE" else address)
    assert found.outer.next_hop == ("10.0.0.10" if number == 8 else None)


def test_what_passes_and_what_is_answered(quiet: Live) -> None:
    stranger = replace(packet(2), target=ip_address("192.0.2.250"))
    assert ask(quiet, stranger).verdict == "PASS_NO_VIP"
    assert ask(quiet, packet(w.NO_TABLE)).verdict == "PASS_NO_TABLE"
    assert ask(quiet, packet(w.DEAD)).verdict == "DROP_NO_BACKEND"
    assert ask(quiet, packet(w.TOO_SMALL, payload=400)).verdict == "TX_TOO_BIG"
    echo = asked(w.CLIENT[4], w.vip(4, 2), "icmp")
    assert ask(quiet, echo).verdict == "TX_ECHO"


def test_the_guard_says_its_rule(quiet: Live) -> None:
    source = ip_address(w.CLIENT[4])
    policy = Policy(
        seed=w.SEED,
        targets={w.packed(w.vip(4, 2)): Limits()},
        on=frozenset({Reason.FLAGS}),
        dry=frozenset({Reason.MARTIAN}),
    )
    quiet.guard.set_policy(policy)
    quiet.guard.install()
    before = quiet.state()
    fine, bad = (
        ask(quiet, packet(2)),
        ask(quiet, asked(f"{source}:1", f"{w.vip(4, 2)}:80", "tcp", flags=("syn", "fin"), payload_bytes=0)),
    )
    assert (fine.guarded, fine.would, fine.verdict, fine.same_code) == (
        Pass.PASSED.name,
        ("MARTIAN",),
        "TX_FORWARD",
        True,
    )
    assert (bad.rule, bad.verdict, bad.action, bad.backend) == ("FLAGS", None, "DROP", None)
    assert ask(quiet, replace(packet(2), target=ip_address("192.0.2.250"))).guarded == Pass.NOT_VIP.name
    assert quiet.state() == before


def test_nothing_is_loaded(built: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "bpf") as folder, pytest.raises(PublishError, match="gtm balance run"):
        Twin(Pins(folder / "gtm"), built)


@pytest.mark.parametrize(
    ("source", "target", "protocol", "word"),
    [
        ("198.51.100.7", "192.0.2.1:80", "tcp", "address and port"),
        ("198.51.100.7:70000", "192.0.2.1:80", "tcp", "not a port"),
        ("2001:db8::1:80", "[2001:db8::2]:80", "udp", "address and port"),
        ("198.51.100.7:1", "[2001:db8::2]:80", "tcp", "different IP versions"),
        ("198.51.100.7:1", "192.0.2.1", "icmp", "address and port"),
    ],
)
def test_questions_that_make_no_sense(source: str, target: str, protocol: str, word: str) -> None:
    with pytest.raises(AskedError, match=word):
        asked(source, target, protocol)


@pytest.mark.parametrize(
    ("protocol", "more", "word"),
    [
        ("udp", {"flags": ("syn",)}, "--flags: goes with tcp"),
        ("icmp", {"fragment": True}, "--fragment: goes with tcp or udp"),
        ("icmp", {"quoted": True}, "--quoted: goes with"),
        ("tcp", {"quoted": True, "fragment": True}, "--quoted: goes with"),
        ("tcp", {"connection_id": b"1"}, "--connection-id: goes with udp"),
        ("udp", {"connection_id": b"1", "quoted": True}, "--connection-id: goes with udp in one piece"),
        ("udp", {"long_header": True}, "--long-header: goes with --connection-id"),
    ],
)
def test_what_does_not_go_together(protocol: str, more: dict[str, Any], word: str) -> None:
    port = "" if protocol == "icmp" else ":1"
    with pytest.raises(AskedError) as caught:
        asked(f"198.51.100.7{port}", f"192.0.2.1{port}", protocol, **more)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--vlan", "0"), "1 to 4094"),
        (("--vlan", "1,2,3"), "1 to 4094"),
        (("--connection-id", "0g"), "hexadecimal"),
        (("--connection-id", "00" * 21), "hexadecimal"),
        (("--flags", "urg"), "is not a flag"),
    ],
)
def test_options_that_are_not_allowed(words: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "explain", "198.51.100.7:1", "192.0.2.1:1", "udp", *words]) == 2
    assert said in capsys.readouterr().err
