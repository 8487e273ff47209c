"""Deployments made at random, written as files, and read back as what they were."""

from __future__ import annotations

import tempfile
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.config.codes import CONTINENTS, COUNTRIES
from gtm.config.deployment import load
from gtm.model.check import (
    AtLeast,
    Cadence,
    Check,
    Composed,
    Degraded,
    DnsProbe,
    ExecProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    HttpVersion,
    IcmpProbe,
    Member,
    Not,
    Probe,
    PushProbe,
    TcpProbe,
    Term,
    Tls,
    TlsProbe,
    UdpProbe,
)
from gtm.model.name import AllDown, Fallback, LastGood, NoData, ServeAll, SteeredName
from gtm.model.place import Coordinates
from gtm.model.policy import Asn, Continent, Country, Matcher, Network, Order, Policy, Rule, matcher_text
from gtm.model.pool import Instance, Pool
from gtm.model.region import Region
from tests.config.folders import ZONE, write

ZONE_NAME = "lb.example.com."
REGION_NAMES = ("no", "on", "e1", "012", "us-east", "ap_south")

coordinates = st.builds(Coordinates, latitude=st.floats(-90, 90), longitude=st.floats(-180, 180))
regions = st.lists(st.sampled_from(REGION_NAMES), min_size=1, unique=True).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                Region,
                name=st.just(name),
                coordinates=coordinates,
                capacity=st.none() | st.floats(0.001, 1e12),
                threshold=st.integers(0, 100).map(lambda percent: round(percent / 100, 9)),
            )
            for name in names
        )
    )
)
ports = st.integers(1, 65535)
patterns = st.none() | st.sampled_from(("^ok$", "12", "no", "a: b"))
ranges = st.integers(100, 598).map(lambda low: (low, low + 1))
tls = st.builds(
    Tls, server_name=st.none() | st.just("www.example.com"), expires_s=st.none() | st.sampled_from((0.0, 1209600.0))
)
texts = st.text("abc 01:#$*{}", max_size=5)
probes: st.SearchStrategy[Probe] = st.one_of(
    st.builds(TcpProbe, port=ports),
    st.builds(TlsProbe, port=ports, tls=tls),
    st.builds(
        DnsProbe,
        port=ports,
        qname=st.sampled_from((".", "www.example.com.", "*.no.")),
        qtype=st.sampled_from((1, 28, 6, 65280)),
        rcodes=st.lists(st.sampled_from((0, 2, 3, 5)), min_size=1, unique=True).map(tuple),
        answer=patterns,
        tcp=st.booleans(),
    ),
    st.builds(IcmpProbe, size_bytes=st.integers(16, 65000)),
    st.builds(
        GrpcProbe,
        port=ports,
        service=st.sampled_from(("", "no", "my.package.Service")),
        authority=st.none() | st.just("www.example.com:50051"),
        tls=st.none() | tls,
    ),
    st.builds(UdpProbe, port=ports, send=st.binary(max_size=20), expect=patterns.map(lambda p: p and p.encode())),
    st.builds(
        ExecProbe,
        argv=st.lists(texts, max_size=3).map(lambda further: ("/usr/lib/x", *further, "{address}")),
        degraded_exits=st.lists(st.integers(1, 255), max_size=3).map(tuple),
    ),
    st.builds(FileProbe, path=st.just("/run/{address}"), ttl_s=st.integers(1, 86400).map(float)),
    st.builds(
        HttpProbe,
        port=st.integers(1, 65535),
        method=st.sampled_from(("GET", "OPTIONS")),
        path=st.from_regex(r"/[a-z0-9?=&%]{0,10}", fullmatch=True),
        host=st.none() | st.just("www.example.com:8080"),
        headers=st.dictionaries(st.sampled_from(("X-A", "no")), st.text("abc 01:#", max_size=5)).map(
            lambda headers: tuple(headers.items())
        ),
        statuses=st.lists(ranges, min_size=1, max_size=3).map(tuple),
        body=patterns,
        degraded_statuses=st.lists(ranges, max_size=2).map(tuple),
        degraded_body=patterns,
        version=st.sampled_from(HttpVersion),
        reuse=st.booleans(),
        tls=st.none() | tls,
    ),
)
members = st.builds(
    Member,
    check=st.sampled_from(("no", "on")),
    address=st.sampled_from((None, IPv4Address("192.0.2.9"), IPv6Address("2001:db8::9"))),
)
terms: st.SearchStrategy[Term] = st.recursive(
    members,
    lambda below: (
        st.builds(Not, of=below)
        | st.lists(below, min_size=1, max_size=4, unique=True).flatmap(
            lambda of: st.integers(1, len(of)).map(lambda count: AtLeast(count=count, of=tuple(of)))
        )
    ),
    max_leaves=6,
)
cadences = st.integers(2, 3000).flatmap(
    lambda tenths: st.builds(
        Cadence,
        interval_s=st.just(tenths / 10),
        timeout_s=st.just(tenths / 20),
        fall=st.integers(1, 100),
        rise=st.integers(1, 100),
        jitter=st.sampled_from((0.0, 0.1, 0.5)),
        fast_s=st.sampled_from((None, tenths / 20, tenths / 10)),
        idle_s=st.sampled_from((None, tenths / 10, 3600.0)),
    )
)
checks = st.builds(
    Check,
    name=st.just("no"),
    probe=probes,
    cadence=cadences,
    degraded=st.builds(
        Degraded,
        latency_s=st.none() | st.sampled_from((0.001, 0.5, 60.0)),
        errors=st.none() | st.sampled_from((0.05, 0.5, 1.0)),
        window=st.integers(1, 64),
    ),
    quorum=st.sampled_from((0.01, 0.5, 0.51, 1.0)),
    vantages=st.none() | st.integers(1, 1000),
).filter(lambda check: not isinstance(check.probe, ExecProbe) or check.cadence.timeout_s >= 1)
pushed = st.builds(
    Check,
    name=st.just("on"),
    probe=st.builds(PushProbe, ttl_s=st.integers(1, 86400).map(float)),
    cadence=st.just(Cadence(fall=1, rise=1)),
    quorum=st.sampled_from((0.34, 1.0)),
)
matchers: st.SearchStrategy[Matcher] = st.one_of(
    st.sampled_from(sorted(COUNTRIES)).map(lambda code: Country(code=code)),
    st.sampled_from(sorted(CONTINENTS)).map(lambda code: Continent(code=code)),
    st.integers(1, 2**32 - 1).map(lambda asn: Asn(asn=asn)),
    st.integers(0, 2**24 - 1).map(lambda number: Network(network=IPv4Network((number << 8, 24)))),
)
last_resorts: st.SearchStrategy[AllDown] = st.one_of(
    st.sampled_from((ServeAll(), LastGood(), NoData())),
    st.just(Fallback(addresses=(IPv4Address("192.0.2.250"), IPv6Address("2001:db8::250")))),
)
ttls = st.one_of(
    st.fixed_dictionaries({"ttl_s": st.integers(0, 604800)}),
    st.lists(st.integers(1, 604800), min_size=2, max_size=2, unique=True)
    .map(sorted)
    .map(lambda both: {"ttl_min_s": both[0], "ttl_s": both[1]}),
)


@st.composite
def pools(draw: st.DrawFn, names: list[str]) -> Pool:
    """A pool of addresses in some of the regions."""
    instances = []
    for number, region in enumerate(draw(st.lists(st.sampled_from(names), min_size=1, max_size=5))):
        both = draw(st.sampled_from(("a", "aaaa", "a aaaa")))
        instances.append(
            Instance(
                region=region,
                a=IPv4Address(f"192.0.2.{number + 1}") if "a" in both.split() else None,
                aaaa=IPv6Address(f"2001:db8::{number + 1}") if "aaaa" in both else None,
                weight=draw(st.integers(1, 10**6)),
                probe=draw(st.none() | st.just(IPv4Address("10.0.0.1"))),
            )
        )
    instances.sort(key=lambda instance: names.index(instance.region))
    check, threshold = draw(st.none() | st.just("no")), draw(st.none() | st.sampled_from((0.0, 0.25, 1.0)))
    return Pool(name="lb.example.com/12", check=check, instances=tuple(instances), threshold=threshold)


@st.composite
def policies(draw: st.DrawFn, names: list[str]) -> Policy:
    """Rules of which none hides another, each for a region of the pool or for the nearest."""
    rules = []
    for each in draw(st.lists(matchers, unique=True, max_size=6)):
        order = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
        rules.append(Rule(matchers=(each,), order=Order(regions=tuple(order), nearest=True)))
    if draw(st.booleans()):
        rules.append(Rule(order=Order(nearest=True)))
    return Policy(rules=tuple(rules))


class Quoting(yaml.SafeDumper):
    """A writer that puts all text in quotes, keys too."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def dump(tree: Any) -> str:
    return str(yaml.dump(tree, Dumper=Quoting, sort_keys=False, width=1_000_000, allow_unicode=True))


def known(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def write_region(region: Region) -> dict[str, Any]:
    where = region.coordinates
    return known(
        latitude=where.latitude,
        longitude=where.longitude,
        capacity=region.capacity,
        threshold=f"{region.threshold:.0%}",
    )


def write_check(check: Check) -> dict[str, Any]:
    if isinstance(check.probe, Composed):
        return write_term(check.probe.term)
    if isinstance(check.probe, PushProbe):
        return {"push": {"ttl": check.probe.ttl_s}, "quorum": check.quorum}
    cadence = check.cadence
    return {
        **write_probe(check.probe),
        "interval": f"{cadence.interval_s}s",
        "timeout": cadence.timeout_s,
        "fall": cadence.fall,
        "rise": cadence.rise,
        "jitter": cadence.jitter,
        "degraded": known(latency=check.degraded.latency_s, errors=check.degraded.errors, over=check.degraded.window),
        "quorum": f"{check.quorum:.0%}",
        **known(fast=cadence.fast_s, idle=cadence.idle_s, vantages=check.vantages),
    }


def write_probe(probe: Probe) -> dict[str, Any]:
    match probe:
        case TcpProbe(port=port):
            return {"tcp": {"port": port}}
        case TlsProbe(port=port, tls=tls):
            return {"tls": {"port": port, **write_tls(tls)}}
        case DnsProbe() as dns:
            types, rcodes = {1: "A", 28: "AAAA", 6: "SOA", 65280: "TYPE65280"}, {0: "NOERROR", 2: "SERVFAIL"}
            rcodes |= {3: "NXDOMAIN", 5: "refused"}
            written = {"type": types[dns.qtype], "rcodes": [rcodes[code] for code in dns.rcodes], "tcp": dns.tcp}
            return {"dns": known(port=dns.port, name=dns.qname, answer=dns.answer, **written)}
        case IcmpProbe(size_bytes=size):
            return {"icmp": {"size": size}}
        case GrpcProbe() as grpc:
            over = None if grpc.tls is None else write_tls(grpc.tls)
            return {"grpc": known(port=grpc.port, service=grpc.service, authority=grpc.authority, tls=over)}
        case UdpProbe() as udp:
            expect = None if udp.expect is None else udp.expect.decode()
            return {"udp": known(port=udp.port, send=f"hex:{udp.send.hex()}", expect=expect)}
        case ExecProbe(argv=argv, degraded_exits=exits):
            return {"exec": {"run": list(argv), "degraded": list(exits)}}
        case FileProbe(path=path, ttl_s=ttl_s):
            return {"file": {"path": path, "ttl": ttl_s}}
        case HttpProbe() as http:
            return write_http(http)
        case _:
            raise AssertionError(probe)


def write_tls(tls: Tls) -> dict[str, Any]:
    return known(server_name=tls.server_name, expires=tls.expires_s)


def write_http(http: HttpProbe) -> dict[str, Any]:
    shape = known(
        port=http.port, path=http.path, host=http.host, method=http.method, body=http.body, headers=dict(http.headers)
    )
    shape["statuses"] = [f"{low}..{high}" for low, high in http.statuses]
    shape["version"] = http.version.value
    shape["reuse"] = http.reuse
    statuses = [f"{low}..{high}" for low, high in http.degraded_statuses]
    shape["degraded"] = known(statuses=statuses, body=http.degraded_body)
    return {"http": shape} if http.tls is None else {"https": {**shape, **write_tls(http.tls)}}


def write_term(term: Term) -> Any:
    match term:
        case Member(check=check, address=None):
            return check
        case Member(check=check, address=address):
            return f"{check}@{address}"
        case Not(of=other):
            return {"not": write_term(other)}
        case AtLeast(count=count, of=of):
            written = [write_term(each) for each in of]
            if count == len(of):
                return {"all": written}
            return {"any": written} if count == 1 else {"at_least": {"count": count, "of": written}}


def write_pool(pool: Pool) -> dict[str, Any]:
    shape: dict[str, Any] = known(check=pool.check, threshold=pool.threshold)
    for each in pool.instances:
        texts = known(a=each.a, aaaa=each.aaaa, probe=each.probe)
        instance = {**{key: str(value) for key, value in texts.items()}, "weight": each.weight}
        shape.setdefault(each.region, []).append(instance)
    return shape


def write_rule(rule: Rule) -> dict[str, Any]:
    order = [*rule.order.regions, *(["nearest"] if rule.order.nearest else [])]
    return {**({"from": [matcher_text(each) for each in rule.matchers]} if rule.matchers else {}), "order": order}


def write_name(name: SteeredName) -> dict[str, Any]:
    words: dict[type, Any] = {ServeAll: "serve_all", LastGood: "last_good", NoData: "nodata"}
    resort = name.all_down
    down = [str(each) for each in resort.addresses] if isinstance(resort, Fallback) else words[type(resort)]
    steer = [write_rule(rule) for rule in name.policy.rules]
    ttl = name.ttl_s if name.ttl_min_s is None else f"{name.ttl_min_s}..{name.ttl_s}s"
    return {"pool": "12", "ttl": ttl, "answers": name.answers, "steer": steer, "all_down": down}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    some = data.draw(regions)
    names = [region.name for region in some]
    check, other = data.draw(checks), data.draw(pushed)
    composed = Check(name="neither", probe=Composed(term=data.draw(terms.filter(lambda t: not isinstance(t, Member)))))
    pool = data.draw(pools(names))
    owners = data.draw(st.lists(st.sampled_from(("@", "www", "no", "*", "*.12", "a.b.c")), unique=True, max_size=4))
    steered = [
        SteeredName(
            owner=ZONE_NAME if owner == "@" else f"{owner}.{ZONE_NAME}",
            zone=ZONE_NAME,
            pool=pool.name,
            policy=data.draw(policies(names)),
            **data.draw(ttls),
            answers=data.draw(st.integers(1, 16)),
            all_down=data.draw(last_resorts),
        )
        for owner in owners
    ]
    files = {
        "geodata/regions.yaml": dump({"regions": {region.name: write_region(region) for region in some}}),
        "probes/checks.yaml": dump({"checks": {each.name: write_check(each) for each in (check, other, composed)}}),
        "zones/lb.example.com.zone": ZONE,
        "zones/lb.example.com.yaml": dump(
            {
                "pools": {"12": write_pool(pool)},
                "names": {owner: write_name(name) for owner, name in zip(owners, steered, strict=True)},
            }
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        found = load(write(Path(folder), files))
    assert list(found.regions.values()) == list(some)
    assert dict(found.checks) == {"no": check, "on": other, "neither": composed}
    assert dict(found.pools) == {pool.name: pool}
    assert found.names == tuple(steered)
