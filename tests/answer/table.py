"""A compiled table that the answer tests share: a zone with static and steered names over a few classes of clients."""

from __future__ import annotations

from array import array
from dataclasses import replace
from functools import cache
from ipaddress import ip_address

from gtm.answer.authority import Authority
from gtm.answer.compile import compile_sets, layout
from gtm.answer.table import AnswerTable
from gtm.decide.plan import decide
from gtm.model.classes import PAGE, ClassTable
from gtm.model.name import Fallback, NoData, SteeredName
from gtm.model.node import Identity
from gtm.model.policy import Order, Policy, Rule
from gtm.model.pool import Instance, Pool
from gtm.model.zone import Rrset, Zone
from gtm.publish.dns.tables import names_of
from gtm.wire import name as wire_name
from tests.decide.world import POOL, WWW, at, deployment, down, snapshot

ORIGIN = wire_name.parse("example.com.")
ONE = Policy(rules=(Rule(order=Order(regions=("eu-west",))),))
CNAMES = Pool(
    name="example.com/hosts",
    check=None,
    instances=(
        Instance(region="us-east", cname="static.example.com."),
        Instance(region="eu-west", cname="elsewhere.test."),
        Instance(region="ap-southeast", cname="www.example.com."),
    ),
)
WEIGHTED = Pool(
    name="example.com/weighted",
    check=None,
    instances=tuple(replace(i, weight=w) for i, w in zip(POOL.instances, (70, 30, 0) * 4, strict=True)),
)
NAMES = (
    WWW,
    replace(WWW, owner="two.example.com.", answers=2),
    replace(WWW, owner="one.example.com.", policy=ONE),
    replace(WWW, owner="weighted.example.com.", pool=WEIGHTED.name, ttl_s=7),
    replace(WWW, owner="host.example.com.", pool=CNAMES.name),
    replace(WWW, owner="*.wild.example.com."),
    replace(WWW, owner="example.com.", answers=16),
    replace(WWW, owner="none.example.com.", policy=ONE, all_down=NoData()),
    replace(WWW, owner="spare.example.com.", policy=ONE, all_down=Fallback(addresses=(ip_address("192.0.2.99"),))),
)
ASKED = [name.owner.replace("*", "a.b") for name in NAMES] + [
    "static.example.com.",
    "alias.example.com.",
    "big.example.com.",
    "WwW.eXample.com.",
    "missing.example.com.",
    "deep.sub.example.com.",
    "elsewhere.test.",
]


def zone() -> Zone:
    """example.com with an SOA, NS, static addresses, an alias of a steered name, large TXT data and a delegation."""
    txt = tuple(bytes((200,)) + bytes((65 + i,)) * 200 for i in range(8))
    data: dict[str, dict[int, tuple[bytes, ...]]] = {
        "example.com.": {
            6: (
                wire_name.parse("ns.example.com.")
                + wire_name.parse("hostmaster.example.com.")
                + b"".join(n.to_bytes(4, "big") for n in (1, 3600, 600, 86400, 300)),
            ),
            2: (wire_name.parse("ns.example.com."),),
        },
        "ns.example.com.": {1: (b"\xc0\x00\x02\x01",)},
        "static.example.com.": {1: (b"\xc0\x00\x02\x07",), 16: (b"\x02hi",)},
        "alias.example.com.": {5: (wire_name.parse("www.example.com."),)},
        "big.example.com.": {16: txt},
        "sub.example.com.": {2: (wire_name.parse("ns.sub.example.com."),)},
        "ns.sub.example.com.": {1: (b"\xc0\x00\x02\x35",)},
    }
    nodes = {
        wire_name.parse(owner): {
            rtype: Rrset(owner=wire_name.parse(owner), rtype=rtype, ttl_s=600, rdatas=rdatas)
            for rtype, rdatas in rrsets.items()
        }
        for owner, rrsets in data.items()
    }
    return Zone(origin=ORIGIN, nodes=nodes, source="test")


@cache
def classes() -> ClassTable:
    """Four classes of clients: by the first octet modulo 4, one /24 split in pages, and IPv6 in two halves."""
    leaves = [(class_, scope) for class_ in range(4) for scope in (8, 25)]
    leaves24 = array("H", (2 * (number >> 16 & 3) for number in range(1 << 24)))
    leaves24[0x08_08_08] = PAGE
    pages = array("H", [1] * 128 + [3] * 128)
    starts6 = array("Q", [0, 0x2000 << 48, 0x3000 << 48])
    places = ("New York", "London", "Tokyo", "San Francisco")
    return ClassTable(
        key="test",
        leaves24=memoryview(leaves24),
        pages=memoryview(pages),
        leaves=tuple(leaves),
        starts6=memoryview(starts6),
        leaves6=memoryview(array("H", [0, 2, 4])),
        loci=tuple(at(place) for place in places),
    )


def table(*gone: str, names: tuple[SteeredName, ...] = NAMES) -> AnswerTable:
    """The table with these regions wholly down."""
    wanted = deployment(*names, pools=(POOL, CNAMES, WEIGHTED))
    lay = layout(wanted, classes().loci)
    plan = decide(snapshot(wanted, down(*gone))).plan
    return AnswerTable(
        revision=1,
        key=0x0123456789ABCDEF,
        authority=Authority.build([zone()], lay.index),
        names=names_of(lay.index),
        sets=compile_sets(plan, lay),
        classes=classes(),
        identity=Identity(nsid="node-1"),
        static={},
    )
