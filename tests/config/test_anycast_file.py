"""bgp/anycast.yaml made at random, written, and read back as what it was; short forms, defaults, and what it needs."""

from __future__ import annotations

import tempfile
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.config import communities as read
from gtm.config.deployment import load
from gtm.config.scalars import Unfit
from gtm.config.watch import watch_signature
from gtm.model.address import IPAddress
from gtm.model.anycast import (
    LADDER_DEFAULT,
    Allowed,
    Anycast,
    Bfd,
    Damping,
    ExitPolicy,
    Guard,
    Lease,
    Neighbour,
    Phase,
    Provider,
    RpkiMode,
    Rung,
    Service,
    Speaker,
    Treatment,
    View,
    ViewKind,
    WithoutStore,
)
from gtm.model.check import Cadence, Check, Target, TcpProbe
from gtm.model.errors import ConfigErrors
from gtm.model.route import (
    GRACEFUL_SHUTDOWN,
    WELL_KNOWN,
    Communities,
    Community,
    ExtendedCommunity,
    ExtendedKind,
    Family,
    LargeCommunity,
)
from tests.config.folders import GOOD, write

FILE = "bgp/anycast.yaml"
WORDS = ("no", "europe", "prepend-2", "x_1")
SHORT = {Family.IPV4: "ipv4", Family.IPV6: "ipv6"}

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
extended = st.one_of(
    st.builds(ExtendedCommunity, st.sampled_from((ExtendedKind.TARGET, ExtendedKind.ORIGIN)), u16, u32),
    st.builds(ExtendedCommunity, st.just(ExtendedKind.TARGET), st.integers(0x10000, 0xFFFFFFFF), u16),
    st.builds(ExtendedCommunity, st.just(ExtendedKind.ORIGIN), u32.map(IPv4Address), u16),
    st.builds(ExtendedCommunity, st.just(ExtendedKind.BANDWIDTH), u16, st.integers(0, 10**14)),
)
communities = st.builds(
    lambda a, b, c: Communities() | Communities(standard=tuple(a), extended=tuple(b), large=tuple(c)),
    st.lists(st.builds(Community, u16, u16) | st.sampled_from(sorted(WELL_KNOWN.values())), max_size=3),
    st.lists(extended, max_size=3),
    st.lists(st.builds(LargeCommunity, u32, u32, u32), max_size=3),
)
treatments = st.builds(
    Treatment,
    med=st.none() | u32,
    prepend=st.integers(0, 16),
    local_pref=st.none() | u32,
    communities=communities,
    words=st.lists(st.sampled_from(WORDS), unique=True, max_size=3).map(tuple),
    bandwidth=st.none() | st.integers(1, 10**12),
)
bfds = st.none() | st.builds(
    Bfd,
    transmit_ms=st.integers(10, 10_000),
    receive_ms=st.integers(10, 10_000),
    multiplier=st.integers(2, 255),
)
asns = st.sampled_from((1, 64500, 65551, 4200000000))
seconds = st.integers(1, 3600).map(float)


@st.composite
def speakers(draw: st.DrawFn, number: int) -> Speaker:
    """A speaker with IPv4 and IPv6 neighbours, all with next hops for what is announced."""
    asn = draw(asns)
    neighbours = []
    for position in range(draw(st.integers(1, 3))):
        six = draw(st.booleans())
        base = f"2001:db8:{number}:{position}::" if six else f"198.51.{number}.{position * 4}"
        address, local = (
            (ip_address(f"{base}1"), ip_address(f"{base}2")) if six else (IPv4Address(base) + 1, IPv4Address(base) + 2)
        )
        hops: dict[Family, IPAddress] = {
            Family.IPV4: IPv4Address(f"198.51.{number}.250"),
            Family.IPV6: IPv6Address(f"2001:db8:{number}::250"),
        }
        neighbours.append(
            Neighbour(
                name=f"n{position}",
                address=address,
                local_address=local,
                asn=draw(asns),
                local_asn=draw(asns),
                families=tuple(Family),
                provider=draw(st.sampled_from((None, "transit"))) if position else "transit",
                hold_time_s=draw(st.integers(3, 65535)),
                md5_file=draw(st.none() | st.just("/etc/gtm/md5")),
                ttl_security=draw(st.none() | st.integers(1, 254)),
                add_path=draw(st.booleans()),
                graceful_restart_s=draw(st.none() | st.integers(1, 4095)),
                next_hops=hops,
                bfd=draw(bfds),
                port=draw(st.integers(1, 65535)),
            )
        )
    return Speaker(
        node=f"edge{number}",
        region=draw(st.sampled_from(("us-east", "eu-west"))),
        asn=asn,
        router_id=IPv4Address(f"10.0.0.{number + 1}"),
        neighbours=tuple(neighbours),
        weight=draw(st.floats(0.001, 1000)),
    )


@st.composite
def services(draw: st.DrawFn, number: int) -> Service:
    """A service with local checks and a treatment for each phase that can have one."""
    v4 = IPv4Network((0xCB007100 + number * 16, 28))
    v6 = ip_network(f"2001:db8:61{number}::/48")
    prefixes = draw(st.sampled_from(((v4,), (v6,), (v4, v6))))
    interval_s = draw(st.integers(2, 3600).map(float))
    cadence = Cadence(
        interval_s=interval_s,
        timeout_s=draw(seconds),
        fall=draw(st.integers(1, 1000)),
        rise=draw(st.integers(1, 1000)),
        jitter=0.0,
        fast_s=draw(st.sampled_from((0.5, 1.0, interval_s))),
    )
    addresses = draw(st.sampled_from(((), (prefixes[0][1],), tuple(prefix[1] for prefix in prefixes))))
    local = {
        Target(check="mail", address=address): Check(name="mail", probe=TcpProbe(port=25), cadence=cadence)
        for address in map(ip_address, draw(st.sampled_from(((), ("127.0.0.1",), ("127.0.0.1", "192.0.2.9", "::1")))))
    }
    return Service(
        name=f"s{number}",
        prefixes=prefixes,
        regions=draw(st.sampled_from((("us-east",), ("eu-west", "us-east")))),
        local=local,
        pool=draw(st.none() | st.just("lb.example.com/web")),
        base=draw(treatments),
        treatments={
            phase: draw(treatments) for phase in (Phase.UP, Phase.DOWN, Phase.DISABLED, Phase.DRAINING, Phase.HELD)
        },
        providers={"transit": draw(treatments)} if draw(st.booleans()) else {},
        withdraw_on_down=draw(st.booleans()),
        disable_file=draw(st.none() | st.just("/run/gtm/disabled")),
        addresses=addresses,
        interface=draw(st.sampled_from(("lo", "eth0", "vlan.1"))) if addresses else None,
        connection_ports=draw(st.lists(st.integers(1, 65535), unique=True, max_size=3).map(tuple)),
    )


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Rung, ...]:
    """Rungs that announce, then such that do not, then such without the address."""
    rungs = []
    counts = [draw(st.integers(0, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 2))]
    for stage, count in enumerate(counts):
        for position in range(count):
            hold_s = draw(st.sampled_from((0.0, 0.5, 60.0)))
            connections = draw(st.none() | st.integers(0, 10**6))
            rungs.append(
                Rung(
                    name=f"r{stage}{position}",
                    treatment=draw(treatments),
                    announce=stage == 0,
                    address=stage < 2,
                    hold_s=hold_s,
                    connections=connections,
                    deadline_s=None if connections is None else hold_s + draw(seconds),
                )
            )
    return tuple(rungs)


guards = st.builds(
    Guard,
    leave_window_s=seconds,
    without_store=st.sampled_from(WithoutStore),
    damping=st.none()
    | st.builds(Damping, half_life_s=seconds, suppress=st.floats(1001, 9999), reuse=st.floats(1, 1000), max_s=seconds),
    allowed=st.none()
    | st.just(
        (
            Allowed(prefix=ip_network("203.0.113.0/24"), length_max=28),
            Allowed(prefix=ip_network("2001:db8::/32"), length_max=48),
            Allowed(prefix=ip_network("192.0.2.0/24"), length_max=24),
        )
    ),
    rpki=st.sampled_from(RpkiMode),
    vrps=st.just("/var/lib/rpki/vrps.json"),
    vrps_age_max_s=st.integers(60, 10**6).map(float),
)
leases = st.builds(
    Lease, ttl_s=st.floats(0.5, 100).map(lambda x: round(x, 3)), controller_s=seconds, exit=st.sampled_from(ExitPolicy)
)


def known(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value not in (None, [], {}, ())}


def write_communities(found: Communities) -> list[str]:
    names = {community: name for name, community in WELL_KNOWN.items()}
    return [*(names.get(each, str(each)) for each in found.standard), *map(str, (*found.extended, *found.large))]


def write_treatment(treatment: Treatment, *, phase: bool = False) -> dict[str, Any]:
    med = "none" if phase and treatment.med is None else treatment.med
    return {
        **known(
            local_pref=treatment.local_pref,
            communities=write_communities(treatment.communities),
            words=list(treatment.words),
            bandwidth=treatment.bandwidth,
        ),
        **({} if med is None else {"med": med}),
        "prepend": treatment.prepend,
    }


def write_neighbour(neighbour: Neighbour) -> dict[str, Any]:
    bfd = neighbour.bfd
    return {
        **known(provider=neighbour.provider, md5_file=neighbour.md5_file, ttl_security=neighbour.ttl_security),
        "address": str(neighbour.address),
        "local_address": str(neighbour.local_address),
        "asn": neighbour.asn,
        "local_asn": f"AS{neighbour.local_asn}",
        "families": [SHORT[family] for family in neighbour.families],
        "hold_time": f"{neighbour.hold_time_s}s",
        "add_path": neighbour.add_path,
        "graceful_restart": neighbour.graceful_restart_s or "off",
        "next_hop": [str(hop) for hop in neighbour.next_hops.values()],
        "bfd": False
        if bfd is None
        else {
            "transmit": f"{bfd.transmit_ms}ms",
            "receive": bfd.receive_ms / 1000,
            "multiplier": bfd.multiplier,
        },
        "port": neighbour.port,
    }


def write_service(service: Service) -> dict[str, Any]:
    tree: dict[str, Any] = {
        **known(
            pool=service.pool,
            disable=service.disable_file,
            addresses=list(map(str, service.addresses)),
            interface=service.interface,
            ports=list(service.connection_ports),
        ),
        "prefixes": list(map(str, service.prefixes)),
        "regions": list(service.regions),
        "base": write_treatment(service.base),
        **{phase.lower(): write_treatment(each, phase=True) for phase, each in service.treatments.items()},
        "providers": {name: write_treatment(each) for name, each in service.providers.items()},
        "withdraw_on_down": service.withdraw_on_down,
    }
    for target, check in service.local.items():
        cadence = check.cadence
        tree |= {"rise": cadence.rise, "fall": cadence.fall, "interval": cadence.interval_s}
        tree |= {"fast_interval": cadence.fast_s, "timeout": cadence.timeout_s}
        tree.setdefault("local", []).append(f"{target.check}@{target.address}")
    return tree


def write_rung(rung: Rung) -> dict[str, Any]:
    tree = {**write_treatment(rung.treatment), "name": rung.name, "hold": rung.hold_s}
    if rung.connections is not None:
        tree |= {"connections": rung.connections, "deadline": rung.deadline_s}
    return tree | ({} if rung.announce else {"announce": False}) | ({} if rung.address else {"address": False})


def write_guard(guard: Guard) -> dict[str, Any]:
    damping = guard.damping
    return {
        "leave_window": guard.leave_window_s,
        "without_store": str(guard.without_store),
        "damping": False
        if damping is None
        else {
            "half_life": damping.half_life_s,
            "suppress": damping.suppress,
            "reuse": damping.reuse,
            "max": damping.max_s,
        },
        **({} if guard.allowed is None else {"allowed": [f"{x.prefix}..{x.length_max}" for x in guard.allowed]}),
        "rpki": str(guard.rpki),
        "vrps": guard.vrps,
        "vrps_age_max": guard.vrps_age_max_s,
    }


def written(wanted: Anycast) -> str:
    return str(
        yaml.safe_dump(
            {
                "speakers": {
                    speaker.node: {
                        "region": speaker.region,
                        "asn": speaker.asn,
                        "router_id": str(speaker.router_id),
                        "weight": speaker.weight,
                        "neighbours": {each.name: write_neighbour(each) for each in speaker.neighbours},
                    }
                    for speaker in wanted.speakers.values()
                },
                "providers": {
                    provider.name: {
                        "words": {
                            word: known(note=provider.notes.get(word)) | {"communities": write_communities(each)}
                            for word, each in provider.words.items()
                        }
                    }
                    for provider in wanted.providers.values()
                },
                "services": {service.name: write_service(service) for service in wanted.services.values()},
                "ladder": [write_rung(rung) for rung in wanted.ladder],
                "guard": write_guard(wanted.guard),
                "lease": {
                    "ttl": wanted.lease.ttl_s,
                    "controller": wanted.lease.controller_s,
                    "exit": str(wanted.lease.exit),
                },
            },
            sort_keys=False,
        )
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    wanted = Anycast(
        speakers={f"edge{n}": data.draw(speakers(n)) for n in range(data.draw(st.integers(1, 3)))},
        services={f"s{n}": data.draw(services(n)) for n in range(data.draw(st.integers(0, 3)))},
        providers={
            "transit": Provider(
                name="transit",
                words={word: data.draw(communities) for word in WORDS},
                notes=data.draw(st.dictionaries(st.sampled_from(WORDS), st.sampled_from(("no", "a: b", "1")))),
            )
        },
        ladder=data.draw(ladders()),
        guard=data.draw(guards),
        lease=data.draw(leases),
    )
    with tempfile.TemporaryDirectory() as folder:
        found = load(write(Path(folder), {**GOOD, FILE: written(wanted)})).anycast
    assert found == wanted


def anycast(tmp_path: Path, text: str, **files: str) -> Anycast:
    found = load(write(tmp_path, {**GOOD, FILE: text, **files})).anycast
    assert found is not None
    return found


def test_without_the_file_nothing_is_announced_and_an_empty_mapping_is_all_defaults(tmp_path: Path) -> None:
    files = {name: text for name, text in GOOD.items() if name != FILE}
    assert load(write(tmp_path, files)).anycast is None
    assert anycast(tmp_path, "{}\n") == Anycast(speakers={}, services={}, providers={}, ladder=LADDER_DEFAULT)


SHORTEST = """\
asn: 64500
session: {hold_time: 30s, bfd: true, md5_file: keys/md5}
speakers:
  edge1:
    region: us-east
    address: [198.51.100.2, "2001:db8::2"]
    neighbours:
      transit-a: 198.51.100.1
      peer: {address: 198.51.100.5, asn: 64497, view: frr}
      other: {address: "2001:db8::1", asn: 64498, provider: transit-a, hold_time: 9s, bfd: false}
providers:
  transit-a: {asn: 64496, words: {quiet: no-peer}}
services:
  web: {prefixes: 203.0.113.0/24, local: mail, addresses: 203.0.113.1, disable: off/web}
"""


def test_short_forms_and_defaults(tmp_path: Path) -> None:
    found = anycast(tmp_path, SHORTEST)
    speaker = found.speakers["edge1"]
    assert (speaker.asn, speaker.router_id, speaker.weight) == (64500, IPv4Address("198.51.100.2"), 1.0)
    transit, peer, other = speaker.neighbours
    assert (transit.asn, transit.provider, transit.hold_time_s, transit.bfd) == (64496, "transit-a", 30, Bfd())
    assert transit.next_hops == {Family.IPV6: IPv6Address("2001:db8::2")}
    assert transit.md5_file == str(tmp_path / "keys/md5")
    assert (transit.view, peer.view) == (None, View(kind=ViewKind.FRR, path="/run/frr"))
    assert (peer.asn, peer.provider, peer.local_asn) == (64497, None, 64500)
    assert (other.provider, other.hold_time_s, other.bfd) == ("transit-a", 9, None)
    assert other.local_address == IPv6Address("2001:db8::2")
    assert other.next_hops == {Family.IPV4: IPv4Address("198.51.100.2")}
    service = found.services["web"]
    assert service.regions == ("us-east", "eu-west")
    assert (service.interface, service.disable_file) == ("lo", str(tmp_path / "off/web"))
    ((target, check),) = service.local.items()
    assert str(target) == "mail@127.0.0.1"
    assert check.cadence == Cadence(interval_s=5, timeout_s=5, fall=3, rise=3, jitter=0, fast_s=1)
    assert {phase: each.med for phase, each in service.treatments.items()} == {
        Phase.UP: 100, Phase.DOWN: 1000, Phase.DISABLED: 500, Phase.DRAINING: 100, Phase.HELD: 1000,
    }  # fmt: skip
    assert service.treatments[Phase.HELD].communities.standard == (GRACEFUL_SHUTDOWN,)
    assert found.served_by(speaker) == (service,)


def test_the_usual_ladder_withdraws_before_the_address_goes() -> None:
    assert len(LADDER_DEFAULT) == 6
    announced = [rung.announce for rung in LADDER_DEFAULT]
    addressed = [rung.address for rung in LADDER_DEFAULT]
    assert announced == sorted(announced, reverse=True)
    assert addressed == sorted(addressed, reverse=True)
    assert announced.index(False) < addressed.index(False)
    assert LADDER_DEFAULT[announced.index(False)].hold_s > 0


def test_what_a_phase_says_of_itself_beats_what_it_follows(tmp_path: Path) -> None:
    text = SHORTEST.replace(
        "disable: off/web",
        "up: {med: 7}, down: {med: none, prepend: 2}, held: {communities: []}, draining: {prepend: 1}",
    )
    treatments = anycast(tmp_path, text).services["web"].treatments
    assert treatments[Phase.UP] == Treatment(med=7)
    assert treatments[Phase.DOWN] == Treatment(prepend=2)
    assert treatments[Phase.HELD] == Treatment()
    assert treatments[Phase.DRAINING] == Treatment(med=7, prepend=1)


@pytest.mark.parametrize(
    ("text", "octets"), [("10Gbit", 1_250_000_000), ("1.5 Mbit", 187_500), ("8bit", 1), ("125", None), ("0bit", None)]
)
def test_bandwidth_in_bits(text: str, octets: int | None, tmp_path: Path) -> None:
    text = SHORTEST.replace("disable: off/web", f'up: {{bandwidth: "{text}"}}')
    if octets is None:
        with pytest.raises(ConfigErrors, match="bandwidth"):
            anycast(tmp_path, text)
    else:
        assert anycast(tmp_path, text).services["web"].treatments[Phase.UP].bandwidth == octets


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (read.asn, True), (read.asn, "AS"), (read.asn, 0), (read.asn, 2**32), (read.prefix, "1.2.3.4/0x8"),
        (read.prefix, "203.0.113.0/255.255.255.0"), (read.prefix, "127.0.0.0/8"), (read.prefix, "fe80::/64"),
        (read.community, ""), (read.community, "1:"), (read.community, "target:1"), (read.community, None),
        (read.allowance, "203.0.113.0/24..33"), (read.allowance, 5),
    ],
)  # fmt: skip
def test_what_is_neither(reader: Any, value: object) -> None:
    with pytest.raises(Unfit):
        reader(value)


def test_an_edit_is_noticed_and_a_name_that_is_nearly_right_is_refused(tmp_path: Path) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    write(tmp_path, {FILE: SHORTEST})
    assert watch_signature(tmp_path) != before
    write(tmp_path, {"bgp/anycast.yml": "{}\n"})
    with pytest.raises(ConfigErrors, match="anycast.yml: is not read"):
        load(tmp_path)


def test_the_reference_deployment_announces_from_every_region() -> None:
    found = load(Path(__file__).parents[2])
    assert found.anycast is not None
    assert {speaker.region for speaker in found.anycast.speakers.values()} == set(found.regions)
    prefixes = {str(prefix) for service in found.anycast.services.values() for prefix in service.prefixes}
    assert prefixes == {"203.0.113.0/24", "2001:db8:61::/48"}
    assert found.node.name not in found.anycast.speakers  # `gtm demo` announces nothing
