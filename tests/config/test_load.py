from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gtm.config.deployment import load
from gtm.model.address import Endpoint
from gtm.model.check import Cadence, DnsProbe, HttpProbe, HttpVersion, PushProbe, TcpProbe, Tls, UdpProbe
from gtm.model.cluster import Cluster
from gtm.model.deployment import Deployment
from gtm.model.errors import ConfigErrors
from gtm.model.expectation import Expectation
from gtm.model.name import Fallback, LastGood, NoData, ServeAll
from gtm.model.node import Identity, Node
from gtm.model.policy import Asn, Continent, Country, Network, Order, Subdivision
from tests.config.folders import CHECKS, GOOD, REGIONS, STEERING, ZONE, write

TOP = Path(__file__).parents[2]
HERE = Endpoint(address=IPv4Address("127.0.0.1"), port=5300)
HERE6 = Endpoint(address=IPv6Address("::1"), port=5300)


def changed(folder: Path, **files: str) -> Deployment:
    """The good deployment with some files replaced: node, regions, checks, steering."""
    names = {
        "node": "gtm.yaml",
        "regions": "geodata/regions.yaml",
        "checks": "probes/checks.yaml",
        "steering": "zones/lb.example.com.yaml",
    }
    return load(write(folder, {**GOOD, **{names[key]: text for key, text in files.items()}}))


def test_zones_alone_are_a_deployment(tmp_path: Path) -> None:
    found = load(write(tmp_path, {"zones/example.org.zone": ZONE, "zones/2.0.192.in-addr.arpa.zone": ZONE}))
    assert found.node == Node(name="gtm", listen=(HERE, HERE6))
    assert dict(found.zone_files) == {
        "2.0.192.in-addr.arpa.": str(tmp_path / "zones/2.0.192.in-addr.arpa.zone"),
        "example.org.": str(tmp_path / "zones/example.org.zone"),
    }
    assert (dict(found.regions), dict(found.checks), dict(found.pools)) == ({}, {}, {})
    assert (found.names, found.expectations) == ((), ())


def test_many_zones_are_listed_without_being_opened(tmp_path: Path) -> None:
    (tmp_path / "zones").mkdir()
    for number in range(3000):
        (tmp_path / f"zones/z{number}.example.zone").symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path)
    assert len(raised.value.errors) == 3000  # a link to nothing is no master file
    (tmp_path / "nothing").write_bytes(b"\xff\xfe not read by us")
    assert len(load(tmp_path).zone_files) == 3000


def test_the_reference_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    found = load(Path())
    assert found.node.name == "demo"
    assert found.node.listen == (HERE, HERE6)
    assert found.node.api == Endpoint(address=IPv4Address("127.0.0.1"), port=8053)
    assert [(name, region.share) for name, region in found.regions.items()] == [
        ("us-east", 0.35),
        ("eu-west", 0.30),
        ("ap-southeast", 0.25),
        ("us-west", 0.10),
    ]
    assert {name.owner for name in found.names} >= {"www.lb.example.com.", "api.lb.example.com."}
    assert set(found.zone_files) == {"lb.example.com.", "example.net."}
    octet = {"us-east": 1, "eu-west": 2, "ap-southeast": 3, "us-west": 4}
    web = found.pools["lb.example.com/web"]
    assert {name: sum(i.region == name for i in web.instances) for name in octet} == {
        **dict.fromkeys(octet, 3),
        "us-west": 2,
    }
    for pool in found.pools.values():
        for instance in pool.instances:
            target = pool.target(instance)
            assert target is not None
            assert target.address in IPv4Network(f"127.0.{octet[instance.region]}.0/24")
    assert {expectation.owner.split(".")[0] for expectation in found.expectations} >= {"www", "api", "cdn"}
    assert all(expectation.file == "zones/lb.example.com.yaml" for expectation in found.expectations)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Node(name="gtm", listen=(HERE, HERE6))),
        ("api: off\nworkers: auto", Node(name="gtm", listen=(HERE, HERE6))),
        (
            "workers: 4\nuser: _gtm\nstate_folder: /var/lib/gtm",
            Node(name="gtm", listen=(HERE, HERE6), workers=4, user="_gtm", state="/var/lib/gtm"),
        ),
        ("region: eu-west\nnode: n-1", Node(name="n-1", listen=(HERE, HERE6), region="eu-west")),
        ('listen: ["[::1]:5300"]\napi: 127.0.0.1:5300', Node(name="gtm", listen=(HERE6,), api=HERE)),
        ("geo: [probes/checks.yaml]", Node(name="gtm", listen=(HERE, HERE6), geo=("probes/checks.yaml",))),
        ("geo: []", Node(name="gtm", listen=(HERE, HERE6))),
        (
            'nsid: a b\nid_server: "1"\nversion: gtm',
            Node(name="gtm", listen=(HERE, HERE6), identity=Identity(nsid="a b", id_server="1", version="gtm")),
        ),
    ],
)
def test_accepted_nodes(tmp_path: Path, text: str, expected: Node) -> None:
    assert changed(tmp_path, node=text).node == expected


def test_a_node_that_shares_its_store(tmp_path: Path) -> None:
    write(tmp_path, {"password": "s3cret\n", "token": "a word\n", "ca.pem": "x", "cert.pem": "x", "key.pem": "x"})
    secure = """
        node: fra1
        state: etcd
        etcd:
          endpoints: ["https://etcd-1.example.net:2379", "https://[2001:db8::1]/", "https://192.0.2.1"]
          prefix: /gtm/production
          ca_file: ca.pem
          cert_file: cert.pem
          key_file: key.pem
          user: gtm
          password_file: password
          lease: 8s
        push: {token_file: token}
    """
    found = changed(tmp_path, node=dedent(secure)).node
    assert found.push_token_file == "token"
    assert found.cluster == Cluster(
        endpoints=("https://etcd-1.example.net:2379", "https://[2001:db8::1]:2379", "https://192.0.2.1:2379"),
        prefix="/gtm/production",
        ca_file="ca.pem",
        cert_file="cert.pem",
        key_file="key.pem",
        user="gtm",
        password_file="password",
        lease_s=8,
    )
    plain = 'node: a\nstate: etcd\netcd: {endpoints: ["http://127.0.0.1:2379"]}'
    assert changed(tmp_path, node=plain).node.cluster == Cluster(endpoints=("http://127.0.0.1:2379",))


def test_a_shared_store_says_what_must_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm.config.build.nodes.find_spec", lambda name: None)
    plain = 'node: a\nstate: etcd\netcd: {endpoints: ["http://127.0.0.1:2379"]}'
    with pytest.raises(ConfigErrors, match=r"gtm.yaml:2: state: etcd needs httpx.*pip install 'gtm\[http\]'"):
        changed(tmp_path, node=plain)


def test_databases_are_found_in_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, {"geodata/b.mmdb": "", "geodata/a.mmdb": "", "geodata/.c.mmdb": ""})
    assert changed(tmp_path).node.geo == ("geodata/a.mmdb", "geodata/b.mmdb")


@pytest.mark.parametrize(
    ("text", "probe", "cadence"),
    [
        ("{http: {}}", HttpProbe(port=80), Cadence()),
        ("{https: {}}", HttpProbe(port=443, tls=Tls()), Cadence()),
        ("{tcp: {port: 1}}", TcpProbe(port=1), Cadence()),
        ("{tcp: {port: 65535}, interval: 1s}", TcpProbe(port=65535), Cadence(interval_s=1, timeout_s=1)),
        (
            "{tcp: {port: 9}, interval: 1m, timeout: 500ms, fall: 1, rise: 100, jitter: 0}",
            TcpProbe(port=9),
            Cadence(interval_s=60, timeout_s=0.5, fall=1, rise=100, jitter=0),
        ),
        ("{tcp: {port: 9}, fast: 2s}", TcpProbe(port=9), Cadence(fast_s=2, timeout_s=2)),
        ("{tcp: {port: 9}, fast: 10s, idle: 1h}", TcpProbe(port=9), Cadence(fast_s=10, idle_s=3600)),
        ("{http: {version: 2}}", HttpProbe(version=HttpVersion.HTTP_2), Cadence()),
        ("{http: {version: 1.1, degraded: {statuses: 429}}}", HttpProbe(degraded_statuses=((429, 429),)), Cadence()),
        ("{https: {expires: 14d}}", HttpProbe(port=443, tls=Tls(expires_s=1209600)), Cadence()),
        ('{udp: {port: 9, send: "", expect: "^\\\\xff"}}', UdpProbe(port=9, expect=rb"^\xff"), Cadence()),
        ("{udp: {port: 9, send: ü}}", UdpProbe(port=9, send="ü".encode()), Cadence()),
        ("{dns: {name: Example.COM, type: MX}}", DnsProbe(qname="example.com.", qtype=15), Cadence()),
        (
            "{tcp: {port: 9}, interval: 2.5, timeout: 2, jitter: 50%}",
            TcpProbe(port=9),
            Cadence(interval_s=2.5, timeout_s=2, jitter=0.5),
        ),
        ("{http: {statuses: 204, body: ^ok}}", HttpProbe(port=80, statuses=((204, 204),), body="^ok"), Cadence()),
        (
            "{http: {statuses: 200..399, method: HEAD}}",
            HttpProbe(port=80, statuses=((200, 399),), method="HEAD"),
            Cadence(),
        ),
        (
            '{http: {port: 81, path: "/a?b=c", host: "x.y:81", statuses: [200, "404", 300..302], headers: {X-A: "1"}}}',
            HttpProbe(
                port=81,
                path="/a?b=c",
                host="x.y:81",
                statuses=((200, 200), (404, 404), (300, 302)),
                headers=(("X-A", "1"),),
            ),
            Cadence(),
        ),
        (
            "{https: {server_name: WWW.example.com}}",
            HttpProbe(port=443, tls=Tls(server_name="www.example.com")),
            Cadence(),
        ),
    ],
)
def test_accepted_checks(tmp_path: Path, text: str, probe: Any, cadence: Cadence) -> None:
    check = changed(tmp_path, checks=f"{CHECKS}  it: {text}\n").checks["it"]
    assert (check.probe, check.cadence) == (probe, cadence)


COMPOSED = """\
checks:
  web: {all: [page, {not: stop}, both@192.0.2.99]}
  both: {any: [page, mail]}
  page: {http: {}}
  mail: {tcp: {port: 25}}
  stop: {push: {}}
  idle: {icmp: {}}
"""


def test_targets_are_those_of_the_pools_and_what_their_checks_are_composed_of(tmp_path: Path) -> None:
    found = changed(tmp_path, checks=COMPOSED)
    there = ("192.0.2.11", "192.0.2.12", "192.0.2.21")
    assert {str(target) for target in found.targets()} == {
        *(f"{check}@{address}" for check in ("web", "page", "stop") for address in there),
        "both@192.0.2.99", "page@192.0.2.99", "mail@192.0.2.99",
    }  # fmt: skip
    assert all(check is found.checks[target.check] for target, check in found.targets().items())


def test_what_is_pushed_counts_at_once_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    checks = f"{CHECKS}  a: {{push: {{}}}}\n  b: {{push: {{ttl: 5m}}, fall: 2}}\n"
    found = changed(tmp_path, checks=checks).checks
    assert (found["a"].probe, found["a"].cadence) == (PushProbe(), Cadence(fall=1, rise=1))
    assert (found["b"].probe, found["b"].cadence) == (PushProbe(ttl_s=300), Cadence(fall=2, rise=1))


def test_checks_over_http2_need_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm.config.build.probes.find_spec", lambda name: None)
    with pytest.raises(ConfigErrors) as raised:
        changed(tmp_path, checks=f"{CHECKS}  a: {{http: {{version: 2}}}}\n  b: {{grpc: {{port: 1}}}}\n")
    assert [(error.key, error.allowed) for error in raised.value.errors] == [
        ("checks.a.http.version", "pip install 'gtm[probes]'"),
        ("checks.b.grpc", "pip install 'gtm[probes]'"),
    ]


def test_a_ca_file_is_found_beside_the_deployment(tmp_path: Path) -> None:
    write(tmp_path, {"ca.pem": "x"})
    probe = changed(tmp_path, checks=f"{CHECKS}  it: {{https: {{ca_file: ca.pem}}}}\n").checks["it"].probe
    assert probe == HttpProbe(port=443, tls=Tls(ca_file=str(tmp_path / "ca.pem")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", [("192.0.2.1", None, None, 100, None)]),
        ("2001:db8::1", [(None, "2001:db8::1", None, 100, None)]),
        ("Host.Example.NET.", [(None, None, "host.example.net.", 100, None)]),
        ("[192.0.2.1, 2001:db8::1]", [("192.0.2.1", None, None, 100, None), (None, "2001:db8::1", None, 100, None)]),
        (
            "{a: 192.0.2.1, aaaa: 2001:db8::1, weight: 0, probe: 10.0.0.1}",
            [("192.0.2.1", "2001:db8::1", None, 0, "10.0.0.1")],
        ),
        (
            '[192.0.2.1, {aaaa: "::1", weight: 1000000}]',
            [("192.0.2.1", None, None, 100, None), (None, "::1", None, 1000000, None)],
        ),
    ],
)
def test_accepted_instances(tmp_path: Path, text: str, expected: list[tuple[Any, ...]]) -> None:
    one = "h.example.net." if "Host" in text else "192.0.2.99"
    steering = f"pools:\n  web:\n    us-east: {text}\n    eu-west: {one}\n"
    instances = changed(tmp_path, steering=steering).pools["lb.example.com/web"].instances
    found = [(i.a, i.aaaa, i.cname, i.weight, i.probe) for i in instances if i.region == "us-east"]
    assert [
        tuple(None if x is None else x if isinstance(x, int) else str(x) for x in each) for each in found
    ] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", Network(network=IPv4Network("10.0.0.0/8"))),
        ("192.0.2.1", Network(network=IPv4Network("192.0.2.1/32"))),
        ("0.0.0.0/0", Network(network=IPv4Network("0.0.0.0/0"))),
        ("2001:db8::/48", Network(network=IPv6Network("2001:db8::/48"))),
        ('"::/0"', Network(network=IPv6Network("::/0"))),
        ("AS64500", Asn(asn=64500)),
        ("as4294967295", Asn(asn=4294967295)),
        ("NO", Country(code="NO")),
        ("AS", Country(code="AS")),
        ("XK", Country(code="XK")),
        ("US-CA", Subdivision(code="US-CA")),
        ("FR-75C", Subdivision(code="FR-75C")),
        ("continent:EU", Continent(code="EU")),
    ],
)
def test_accepted_clients(tmp_path: Path, text: str, expected: Any) -> None:
    for written in (text, f"[{text}]", f"[ZW, {text}]"):
        steering = STEERING.replace("from: BR, order", f"from: {written}, order")
        rule = changed(tmp_path, steering=steering).names[0].policy.rules[0]
        assert rule.matchers[-1] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nearest", Order(nearest=True)),
        ("[nearest]", Order(nearest=True)),
        ("us-east", Order(regions=("us-east",))),
        ("[eu-west, us-east]", Order(regions=("eu-west", "us-east"))),
        ("[eu-west, nearest]", Order(regions=("eu-west",), nearest=True)),
    ],
)
def test_accepted_orders(tmp_path: Path, text: str, expected: Order) -> None:
    steering = STEERING.replace("order: [us-east, nearest]", f"order: {text}")
    assert changed(tmp_path, steering=steering).names[0].policy.rules[0].order == expected


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("www", "www.lb.example.com."),
        ("WWW.Sub", "www.sub.lb.example.com."),
        ('"@"', "lb.example.com."),
        ('"*"', "*.lb.example.com."),
        ('"*.shop"', "*.shop.lb.example.com."),
        ("www.lb.example.com.", "www.lb.example.com."),
        ("lb.example.com.", "lb.example.com."),
        ("_sip_1", "_sip_1.lb.example.com."),
        ("007", "007.lb.example.com."),
        ("null", "null.lb.example.com."),
        ("a" * 63, "a" * 63 + ".lb.example.com."),
    ],
)
def test_accepted_owners(tmp_path: Path, key: str, owner: str) -> None:
    steering = f"pools:\n  web: {{us-east: 192.0.2.1}}\nnames:\n  {key}: {{pool: web}}\n"
    (name,) = changed(tmp_path, steering=steering).names
    assert (name.owner, name.zone, name.pool) == (owner, "lb.example.com.", "lb.example.com/web")
    assert (name.ttl_s, name.answers, name.all_down, name.policy.rules) == (30, 1, ServeAll(), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serve_all", ServeAll()),
        ("last_good", LastGood()),
        ("nodata", NoData()),
        ("[192.0.2.9, 2001:db8::9]", Fallback(addresses=(IPv4Address("192.0.2.9"), IPv6Address("2001:db8::9")))),
    ],
)
def test_accepted_last_resorts(tmp_path: Path, text: str, expected: Any) -> None:
    steering = STEERING.replace("    pool: web\n", f"    pool: web\n    all_down: {text}\n")
    assert changed(tmp_path, steering=steering).names[0].all_down == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30", 30), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("7d", 604800)]
)
def test_accepted_ttls(tmp_path: Path, text: str, seconds: int) -> None:
    steering = STEERING.replace("    pool: web\n", f"    pool: web\n    ttl: {text}\n")
    assert changed(tmp_path, steering=steering).names[0].ttl_s == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ask: www A, from: 192.0.2.1, region: us-east}", ("A", IPv4Address("192.0.2.1"), "us-east", ())),
        ("{ask: www AAAA, from: 192.0.2.0/24, nodata: true}", ("AAAA", IPv4Network("192.0.2.0/24"), None, ())),
        ("{ask: www A, from: NO, region: eu-west, down: us-east}", ("A", "NO", "eu-west", ("us-east",))),
        (
            "{ask: www.lb.example.com. A, from: US-CA, region: eu-west, down: [us-east]}",
            ("A", "US-CA", "eu-west", ("us-east",)),
        ),
    ],
)
def test_accepted_tests(tmp_path: Path, text: str, expected: tuple[Any, ...]) -> None:
    found = changed(tmp_path, steering=f"{STEERING}  - {text}\n").expectations[-1]
    rtype, client, region, down = expected
    assert found == Expectation(
        owner="www.lb.example.com.",
        rtype=rtype,
        client=client,
        region=region,
        down=down,
        file=str(tmp_path / "zones/lb.example.com.yaml"),
        line=STEERING.count("\n") + 1,
    )


@pytest.mark.parametrize(("text", "share"), [("60%", 0.6), ("0.6", 0.6), ("1", 1.0), ("0", 0.0), ("33.3 %", 0.333)])
def test_accepted_shares(tmp_path: Path, text: str, share: float) -> None:
    regions = REGIONS.replace(", share: 40%", "").replace(
        "share: 60%", f"share: {text}, threshold: {text}, capacity: 0.5"
    )
    region = changed(tmp_path, regions=regions).regions["us-east"]
    assert (region.share, region.threshold, region.capacity) == (share, share, 0.5)


def test_anchors_stand_for_whole_values(tmp_path: Path) -> None:
    steering = STEERING.replace("order: [us-east, nearest]", "order: &near [us-east, nearest]").replace(
        "{order: nearest}", "{from: AR, order: *near}"
    )
    first, second = changed(tmp_path, steering=steering).names[0].policy.rules
    assert first.order == second.order == Order(regions=("us-east",), nearest=True)


def test_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        changed(
            tmp_path,
            node="nod: 1",
            regions=f"{REGIONS}  x: 1\n",
            checks=f"{CHECKS}  x: 1\n",
            steering=f"{STEERING}  - 1\n",
        )
    names = [Path(error.file).name for error in raised.value.errors]
    assert names == ["regions.yaml", "gtm.yaml", "checks.yaml", "lb.example.com.yaml"]
