"""dataplane/services.yaml made at random, written, and read back as what it was; short forms and defaults."""

from __future__ import annotations

import re
import tempfile
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.config.deployment import load
from gtm.config.watch import watch_signature
from gtm.model.address import Endpoint, IPAddress
from gtm.model.balance import (
    AMPLIFIERS,
    RULES_DEFAULT,
    Affinity,
    AttachMode,
    Backend,
    Dataplane,
    Gateway,
    Instance,
    Mode,
    Port,
    Protection,
    QuicLb,
    Rate,
    Rule,
    Secret,
    Service,
    SourceRate,
    SyncSettings,
    SynFlood,
    Through,
    Wrap,
)
from gtm.model.check import FileProbe
from gtm.model.errors import ConfigErrors
from tests.config.folders import GOOD, write

FILE = "dataplane/services.yaml"
REGIONS = ("us-east", "eu-west")
TOP = Path(__file__).parents[2]

macs = st.binary(min_size=5, max_size=5).map(lambda rest: b"\x02" + rest)
rates = st.builds(Rate, packets_per_s=st.integers(1, 10**9), burst=st.integers(1, 10**9))
networks = st.builds(
    lambda bits, length: ip_network((bits >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


def address(number: int, *, six: bool) -> IPAddress:
    """One that nothing else has."""
    return IPv6Address(f"2001:db8:b::{number:x}") if six else IPv4Address(f"10.9.{number >> 8}.{number & 255}")


@st.composite
def backends(draw: st.DrawFn, number: int, lengths: tuple[int, ...]) -> Backend:
    wrap = draw(st.sampled_from(Wrap))
    return Backend(
        name=f"b{number}",
        address=address(number + 100, six=draw(st.booleans())),
        region=draw(st.sampled_from((None, *REGIONS))),
        weight=draw(st.integers(1, 1000)),
        wrap=wrap,
        second_chance=wrap is Wrap.GUE and draw(st.booleans()),
        gateway=None if wrap is Wrap.L2 else draw(st.sampled_from((None, "one", "two"))),
        mac=draw(st.none() | macs) if wrap is Wrap.L2 else None,
        mtu_bytes=draw(st.none() | st.integers(1280, 9216)),
        gue_port=draw(st.integers(1, 65535)),
        server_ids=tuple(number.to_bytes(length, "big") for length in lengths),
    )


@st.composite
def services(draw: st.DrawFn, number: int) -> Service:
    lengths = draw(st.lists(st.integers(1, 15), unique=True, max_size=2))
    quic = QuicLb(lengths=dict(enumerate(lengths, draw(st.integers(0, 5))))) if lengths else None
    count = draw(st.integers(1, 4))
    check = draw(st.sampled_from((None, "mail")))
    return Service(
        name=f"s{number}",
        vips=(IPv4Address(f"203.0.113.{number}"), IPv6Address(f"2001:db8:61::{number:x}"))[: draw(st.integers(1, 2))],
        ports=(
            Port(protocol="tcp", port=draw(st.integers(1, 65535)), affinity=draw(st.sampled_from(Affinity))),
            Port(protocol="udp", port=443, affinity=draw(st.sampled_from(Affinity)), quic=quic),
        ),
        backends=tuple(draw(backends(number * 10 + position, tuple(lengths))) for position in range(count)),
        check=check,
        through=draw(st.sampled_from(Through)) if check else Through.DIRECT,
        table_size=draw(st.sampled_from((5, 8191, 65521, 65537))),
        drain_s=draw(st.integers(0, 86400).map(float)),
        echo=draw(st.booleans()),
    )


@st.composite
def instances(draw: st.DrawFn, number: int, folder: Path) -> Instance:
    own = address(number, six=False)
    sync = SyncSettings(
        listen=Endpoint(address=own, port=draw(st.integers(1, 65535))),
        flush_s=draw(st.sampled_from((0.001, 0.02, 1.0))),
        ready_s=draw(st.integers(1, 3600).map(float)),
    )
    return Instance(
        node=f"lb{number}",
        region=draw(st.sampled_from(REGIONS)),
        interface=draw(st.sampled_from(("eth0", "bond0.100", "enp1s0f1"))),
        mode=draw(st.sampled_from(AttachMode)),
        gateways=(
            Gateway(name="one", address=IPv4Address("10.8.0.1"), mac=draw(st.none() | macs)),
            Gateway(name="two", address=IPv6Address("fe80::1"), mac=draw(st.none() | macs)),
        ),
        addresses=(own, address(number, six=True)),
        sources=(IPv4Network("172.16.0.0/12"), IPv6Network("fd00:31::/112")),
        mtu_bytes=draw(st.integers(1280, 9216)),
        sync=draw(st.sampled_from((None, sync))),
        ready_file=draw(st.sampled_from((None, str(folder / "state/ready"), "/run/gtm/ready"))),
    )


@st.composite
def protections(draw: st.DrawFn, names: tuple[str, ...], folder: Path) -> Protection:
    source = draw(st.none() | st.builds(SourceRate, rate=rates, prefix4=st.sampled_from((24, 32))))
    vip = draw(st.none() | rates)
    rules = {rule: draw(st.sampled_from(Mode)) for rule in Rule}
    if source is None:
        rules[Rule.SOURCE_RATE] = Mode.OFF
    vips = {name: draw(rates) for name in draw(st.lists(st.sampled_from(names), unique=True))} if names else {}
    if vip is None and not vips:
        rules[Rule.VIP_RATE] = Mode.OFF
    return Protection(
        allow=tuple(draw(st.lists(networks, unique=True, max_size=3))),
        deny=tuple(draw(st.lists(networks, unique=True, max_size=3))),
        allow_files=draw(st.sampled_from(((), (str(folder / "lists/allow"),)))),
        deny_files=draw(st.sampled_from(((), (str(folder / "lists/deny"), "/etc/deny")))),
        rules=rules,
        amplifiers=tuple(sorted(draw(st.sets(st.integers(0, 65535), min_size=1, max_size=5)))),
        source_rate=source,
        vip_rate=vip,
        vip_rates=vips,
        syn_flood=draw(st.sampled_from(SynFlood)),
        syn_rate=draw(st.integers(1, 10**9)),
    )


def colons(mac: bytes) -> str:
    return mac.hex(":")


def without_nothing(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None and value != []}


def write_backend(one: Backend) -> dict[str, Any]:
    return without_nothing(
        {
            "address": str(one.address),
            "region": one.region,
            "weight": one.weight,
            "wrap": str(one.wrap),
            "second_chance": one.second_chance,
            "gateway": one.gateway,
            "mac": None if one.mac is None else colons(one.mac),
            "mtu": one.mtu_bytes,
            "gue_port": one.gue_port,
            "server_id": [each.hex() for each in one.server_ids],
        }
    )


def write_service(one: Service) -> dict[str, Any]:
    return without_nothing(
        {
            "vips": list(map(str, one.vips)),
            "ports": [
                {
                    "port": str(port),
                    "affinity": str(port.affinity),
                    "quic": {} if port.quic is None else dict(port.quic.lengths),
                }
                for port in one.ports
            ],
            "backends": {each.name: write_backend(each) for each in one.backends},
            "check": one.check,
            "through": str(one.through) if one.check else None,
            "table_size": one.table_size,
            "drain": one.drain_s,
            "echo": one.echo,
        }
    )


def write_instance(one: Instance) -> dict[str, Any]:
    sync = one.sync
    return without_nothing(
        {
            "region": one.region,
            "interface": one.interface,
            "mode": str(one.mode),
            "gateways": {
                each.name: without_nothing(
                    {"address": str(each.address), "mac": None if each.mac is None else colons(each.mac)}
                )
                for each in one.gateways
            },
            "address": list(map(str, one.addresses)),
            "source": list(map(str, one.sources)),
            "mtu": one.mtu_bytes,
            "sync": False
            if sync is None
            else {"listen": str(sync.listen), "flush": sync.flush_s, "ready": sync.ready_s},
            "ready_file": one.ready_file,
        }
    )


def write_rate(one: Rate) -> dict[str, int]:
    return {"packets": one.packets_per_s, "burst": one.burst}


def write_protection(one: Protection) -> dict[str, Any]:
    source = one.source_rate
    return without_nothing(
        {
            "allow": list(map(str, one.allow)),
            "deny": list(map(str, one.deny)),
            "allow_files": list(one.allow_files),
            "deny_files": list(one.deny_files),
            "rules": {str(rule): str(mode) for rule, mode in one.rules.items()},
            "amplifiers": list(one.amplifiers),
            "source_rate": None
            if source is None
            else {**write_rate(source.rate), "prefix4": source.prefix4, "prefix6": source.prefix6},
            "vip_rate": None if one.vip_rate is None else write_rate(one.vip_rate),
            "vip_rates": {name: write_rate(each) for name, each in one.vip_rates.items()} or None,
            "syn_flood": str(one.syn_flood),
            "syn_rate": one.syn_rate,
        }
    )


def written(wanted: Dataplane) -> str:
    found = {
        "secret_file": wanted.secret.file,
        "secret_env": wanted.secret.env,
        "services": {name: write_service(one) for name, one in wanted.services.items()},
        "instances": {name: write_instance(one) for name, one in wanted.instances.items()},
        "protection": write_protection(wanted.protection),
    }
    return yaml.safe_dump(without_nothing(found), sort_keys=False)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        found = {f"s{number}": data.draw(services(number)) for number in range(data.draw(st.integers(0, 3)))}
        wanted = Dataplane(
            secret=data.draw(st.sampled_from((Secret(file=str(folder / "key")), Secret(env="GTM_SECRET")))),
            services=found,
            instances={f"lb{n}": data.draw(instances(n, folder)) for n in range(1, data.draw(st.integers(1, 4)))},
            protection=data.draw(protections(tuple(found), folder)),
        )
        assert load(write(folder, {**GOOD, FILE: written(wanted)})).dataplane == wanted


def dataplane(tmp_path: Path, text: str) -> Dataplane:
    found = load(write(tmp_path, {**GOOD, FILE: text})).dataplane
    assert found is not None
    return found


def test_without_the_file_nothing_is_balanced_and_a_secret_alone_is_all_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, {name: text for name, text in GOOD.items() if name != FILE})).dataplane is None
    found = dataplane(tmp_path, "secret_env: X\n")
    assert found == Dataplane(secret=Secret(env="X"), services={}, instances={}, protection=Protection())
    assert found.protection.rules == RULES_DEFAULT
    assert found.protection.amplifiers == AMPLIFIERS


SHORTEST = """\
secret_file: keys/balance
services:
  web: {vips: 203.0.113.1, ports: tcp/80, wrap: gue, second_chance: true, mtu: 1400,
        backends: {a: 10.1.0.1, b: {address: 10.1.0.2, region: eu-west, wrap: l2}, c: {address: 10.1.0.3, mtu: 1300}}}
instances:
  lb1: {region: us-east, interface: eth0, gateways: {rack: 10.1.0.9}, address: 10.1.0.8, sync: true}
  lb2: {region: us-east, interface: eth0, address: 10.1.0.7, sync: "10.1.0.7:9"}
  lb3: {region: eu-west, interface: eth0, address: 10.2.0.7, sync: true}
  lb4: {region: us-east, interface: eth0, address: 10.1.0.6, sync: false}
protection: {vip_rates: {web: {packets: 7}}, source_rate: {packets: 5}, rules: {vip-rate: dry-run}}
"""


def test_short_forms_and_defaults(tmp_path: Path) -> None:
    found = dataplane(tmp_path, SHORTEST)
    assert found.secret == Secret(file=str(tmp_path / "keys/balance"))
    web = found.services["web"]
    a, b, c = web.backends
    assert a == Backend(name="a", address=IPv4Address("10.1.0.1"), wrap=Wrap.GUE, second_chance=True, mtu_bytes=1400)
    assert (b.wrap, b.second_chance, b.mtu_bytes) == (Wrap.L2, False, 1400)
    assert (c.wrap, c.second_chance, c.mtu_bytes) == (Wrap.GUE, True, 1300)
    assert web.backends_of("us-east") == (a, c)
    assert web.backends_of("eu-west") == (a, b, c)
    assert web.key(b) == "web/b"
    assert web.ports == (Port(protocol="tcp", port=80),)
    lb1, lb2, _, lb4 = found.instances.values()
    assert lb1.sync == SyncSettings(listen=Endpoint(address=IPv4Address("10.1.0.8"), port=6081))
    assert lb2.sync == SyncSettings(listen=Endpoint(address=IPv4Address("10.1.0.7"), port=9))
    assert lb4.sync is None
    assert found.peers(lb1) == (lb2,)
    assert lb1.gateway(None) == lb1.gateway("rack") == Gateway(name="rack", address=IPv4Address("10.1.0.9"))
    assert (lb1.gateway("none"), lb2.gateway(None)) == (None, None)
    assert found.protection.vip_rates == {"web": Rate(packets_per_s=7, burst=7)}
    assert found.protection.rules[Rule.SOURCE_RATE] is Mode.ON
    assert found.protection.rules[Rule.VIP_RATE] is Mode.DRY_RUN


def test_where_a_service_stands_is_known(tmp_path: Path) -> None:
    assert dataplane(tmp_path, SHORTEST).services["web"].line == 3


@pytest.mark.parametrize(
    ("many", "said"),
    [
        (4096, "services: has 4096 backends in all (allowed: up to 4095)"),
        (4095, None),
    ],
)
def test_every_backend_has_a_number(many: int, said: str | None, tmp_path: Path) -> None:
    first = {f"b{n}": str(IPv4Address("10.0.0.0") + n + 1) for n in range(2000)}
    rest = {f"b{n}": str(IPv4Address("10.0.0.0") + n + 1) for n in range(2000, many)}
    tree = {
        "secret_env": "X",
        "services": {
            "one": {"vips": "203.0.113.1", "ports": "tcp/80", "backends": first},
            "two": {"vips": "203.0.113.2", "ports": "tcp/80", "backends": rest},
        },
    }
    if said is None:
        assert len(dataplane(tmp_path, yaml.safe_dump(tree)).services["two"].backends) == many - 2000
    else:
        with pytest.raises(ConfigErrors) as caught:
            dataplane(tmp_path, yaml.safe_dump(tree))
        assert [said in str(error) for error in caught.value.errors] == [True]


def test_every_vip_has_a_place(tmp_path: Path) -> None:
    ports = [f"tcp/{port}" for port in range(1, 58)]
    services_ = {
        f"s{n}": {"vips": f"203.0.113.{n}", "ports": ports, "backends": {"a": "10.1.0.1"}} for n in range(1, 31)
    }
    with pytest.raises(ConfigErrors, match="needs 1800 places in the table of VIPs"):
        dataplane(tmp_path, yaml.safe_dump({"secret_env": "X", "services": services_}))
    del services_["s30"]
    assert len(dataplane(tmp_path, yaml.safe_dump({"secret_env": "X", "services": services_})).services) == 29


def test_an_edit_is_noticed_and_a_name_that_is_nearly_right_is_refused(tmp_path: Path) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    write(tmp_path, {FILE: SHORTEST})
    assert watch_signature(tmp_path) != before
    write(tmp_path, {"dataplane/services.yml": "{}\n"})
    with pytest.raises(ConfigErrors, match="services.yml: is not read"):
        load(tmp_path)


def test_the_example_of_the_guide_is_a_local_check_of_the_announcer(tmp_path: Path) -> None:
    guide = (TOP / "docs/dataplane.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    files = dict(re.findall(r"^# (\S+\.yaml)\n((?:(?!# ).*\n)+)", block, flags=re.MULTILINE))
    rest = {name: text for name, text in GOOD.items() if name not in (FILE, "zones/lb.example.com.yaml")}
    found = load(write(tmp_path, {**rest, **files})).anycast
    assert found is not None
    ((target, check),) = found.services["web"].local.items()
    assert target.check == "balancer"
    assert check.probe == FileProbe(path="/var/lib/gtm/ready", ttl_s=5.0)
    assert (check.cadence.interval_s, check.cadence.fall) == (1.0, 1)


def test_the_reference_deployment_balances_in_every_region() -> None:
    found = load(TOP)
    assert found.dataplane is not None
    assert {instance.region for instance in found.dataplane.instances.values()} == set(found.regions)
    for service in found.dataplane.services.values():
        assert all(service.backends_of(region) for region in found.regions)
    assert found.node.name not in found.dataplane.instances  # `gtm demo` balances nothing
    assert found.anycast is not None
    announced = [prefix for service in found.anycast.services.values() for prefix in service.prefixes]
    vips = [vip for service in found.dataplane.services.values() for vip in service.vips]
    assert all(any(vip in prefix for prefix in announced) for vip in vips)
