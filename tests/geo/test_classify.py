"""Classes and scopes, against an oracle that asks the library, the overrides and the rules one by one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import maxminddb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtm.geo.classify import classify
from gtm.geo.overrides import parse_overrides
from gtm.geo.space import PlaceSpace, build_space
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.classes import PAGE, ClassTable
from gtm.model.errors import ConfigError
from gtm.model.place import Locus, Place
from tests.geo.databases import address4, flat, innermost, nested, networks, write

COUNTRIES = ("US", "GB", "JP")


def class_of(locus: Locus) -> Hashable:
    return locus.place.country, frozenset(locus.networks)


def near(value: int) -> st.SearchStrategy[IPv4Network]:
    """Networks that are likely to lie inside one another."""
    return st.builds(
        lambda low, length: IPv4Network(((value | low) >> 32 - length << 32 - length, length)),
        st.integers(0, 2**12 - 1),
        st.integers(4, 32),
    )


def near6(value: int) -> st.SearchStrategy[IPv6Network]:
    return st.builds(
        lambda low, length: IPv6Network(((value | low) << 64 >> 128 - length << 128 - length, length)),
        st.integers(0, 2**12 - 1),
        st.integers(12, 64),
    )


nets = st.one_of(
    near(0x01020000), near(0xFFFFF000), near(0), near6(0x2600_0001_0002_0000), near6(0x2A00_FFFF_FFFF_F000)
)
lists = st.lists(nets, max_size=6, unique=True)


@dataclass(frozen=True)
class Oracle:
    """What each address is, the slow way."""

    path: Path
    overrides: dict[IPNetwork, str]
    rules: Sequence[IPNetwork]

    def value(self, address: IPAddress) -> Hashable:
        with maxminddb.open_database(self.path) as reader:
            entry = reader.get(address)
        country = entry["country"]["iso_code"] if isinstance(entry, dict) else None  # type: ignore[index,call-overload]
        country = innermost(address, self.overrides) or country
        around = frozenset(n for n in self.rules if n.version == address.version and address in n)
        return country, around


def find(table: ClassTable, address: IPAddress) -> tuple[int, int]:
    return table.find4(int(address)) if address.version == 4 else table.find6(int(address))


def candidates(known: Sequence[IPNetwork]) -> list[IPAddress]:
    """Both sides of every edge, of both families; where anything changes, it changes between two of these.

    ::/64 is left out: to the library IPv4 begins there.
    """
    found: set[IPAddress] = set()
    for version, step, top in ((4, 1, 2**32 - 1), (6, 2**64, 2**128 - 1)):
        values = {step if version == 6 else 0, top}
        for network in known:
            if network.version == version:
                first, last = int(network.network_address), int(network.broadcast_address)
                values |= {first, last, max(first - step, 0), min(last + step, top)}
        found |= {address4(v) if version == 4 else IPv6Address(v) for v in values}
    return sorted(found, key=lambda a: (a.version, int(a)))


def block(address: IPAddress, length: int) -> IPNetwork:
    return ip_network(f"{address}/{length}", strict=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(database=st.lists(nets, min_size=1, max_size=6, unique=True), overridden=lists, rules=lists, data=st.data())
def test_classes_are_the_oracles_and_scopes_partition_the_space(
    tmp_path: Path, database: list[IPNetwork], overridden: list[IPNetwork], rules: list[IPNetwork], data: st.DataObject
) -> None:
    path = write(tmp_path / "t.mmdb", {str(n): nested(COUNTRIES[i % 3]) for i, n in enumerate(database)})
    rows = {n: COUNTRIES[(i + 1) % 3] for i, n in enumerate(overridden)}
    text = "network,country\n" + "".join(f"{n},{c}\n" for n, c in rows.items())
    space = build_space([path], parse_overrides(text, "o.csv"))
    table = classify(space, rules, class_of, "key")
    oracle = Oracle(path=path, overrides=rows, rules=rules)
    known = candidates([*database, *overridden, *rules])
    found = {address: find(table, address) for address in known}
    for address, (class_, scope) in found.items():
        assert class_of(table.loci[class_]) == oracle.value(address)
        mine = block(address, scope)
        inside = [a for a in known if a in mine]
        low = int(mine.network_address)
        drawn = data.draw(st.integers(low, int(mine.broadcast_address)))
        inside += [mine.network_address, mine.broadcast_address, type(address)(drawn)]
        assert {find(table, a) for a in inside} == {(class_, scope)}, "one class and one scope all over the block"
        if scope:
            wider = block(address, scope - 1)
            assert {found[a][0] for a in known if a in wider} != {class_}, "the block cannot be wider"


@pytest.fixture
def space(tmp_path: Path) -> PlaceSpace:
    records = {"1.0.0.0/8": nested("US"), "2.0.0.0/8": nested("JP"), "2600::/16": nested("US")}
    return build_space([write(tmp_path / "t.mmdb", records)])


def test_classes_are_numbered_as_first_met(space: PlaceSpace) -> None:
    table = classify(space, networks("2600::/32", "0.0.0.0/32"), class_of, "key")
    assert [class_of(locus) for locus in table.loci] == [
        (None, frozenset(networks("0.0.0.0/32"))),
        (None, frozenset()),
        ("US", frozenset()),
        ("JP", frozenset()),
        ("US", frozenset(networks("2600::/32"))),
    ]
    again = classify(space, networks("0.0.0.0/32", "2600::/32", "2600::/32"), class_of, "key")
    assert bytes(again.leaves24) == bytes(table.leaves24)
    assert (again.leaves, again.loci) == (table.leaves, table.loci)


def test_a_space_of_one_class_has_scope_0(space: PlaceSpace) -> None:
    table = classify(space, (), lambda _: "all", "key")
    assert {table.find4(a) for a in (0, 0x01020304, 2**32 - 1)} == {(0, 0)}
    assert {table.find6(a) for a in (0, 0x2600 << 112, 2**128 - 1)} == {(0, 0)}
    assert (len(table.starts6), len(table.pages), table.leaves) == (1, 0, ((0, 0),))


def test_a_split_24_has_a_page(space: PlaceSpace) -> None:
    table = classify(space, networks("1.2.3.128/25", "1.2.3.200/32", "1.2.4.0/24"), class_of, "key")
    assert len(table.pages) == 256
    assert table.leaves24[0x010203] == PAGE
    assert [table.find4(0x01020300 + low)[1] for low in (0, 127, 128, 200, 201, 255)] == [25, 25, 26, 32, 32, 27]
    assert table.find4(0x01020400)[1] == 24
    assert table.key == "key"


@pytest.mark.parametrize(
    ("network", "words"), [("2600::/65", "too long"), ("::ffff:102:300/120", "IPv4"), ("2002:102::/32", "IPv4")]
)
def test_rule_networks_that_cannot_be_told_apart_are_refused(space: PlaceSpace, network: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        classify(space, networks(network), class_of, "key")
    assert caught.value.key == network


def halves(count: int) -> list[str]:
    return [f"{60 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/25" for i in range(count)]


def test_too_many_split_24s_of_rules_are_refused(space: PlaceSpace) -> None:
    with pytest.raises(ConfigError, match="32768 /24 networks") as caught:
        classify(space, networks(*halves(0x8000)), lambda locus: bool(locus.networks), "key")
    assert "at most 32767" in str(caught.value)


def test_too_many_classes_and_leaves_are_refused(space: PlaceSpace) -> None:
    rules = networks(*(f"{60 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24" for i in range(0x8000)))
    with pytest.raises(ConfigError, match="pairs of class and ECS scope"):
        classify(space, rules, class_of, "key")


def test_too_many_split_24s_of_databases_are_levelled(tmp_path: Path) -> None:
    records = {half: flat("US") for half in halves(0x8000)}
    # One of them is split three ways: most of it is Japan.
    records |= {"60.0.1.128/26": flat("JP"), "60.0.1.0/26": flat("JP")}
    path = write(tmp_path / "split.mmdb", records, ip_version=4)
    rows = parse_overrides("network,country\n60.0.5.64/26,GB\n", "o.csv")
    table = classify(build_space([path], rows), networks("60.0.7.192/26"), class_of, "key")

    def country(address: str) -> str | None:
        return table.loci[find(table, ip_network(address).network_address)[0]].place.country

    assert len(table.pages) == 2 * 256, "those of the override and the rule alone"
    assert country("60.0.1.64") == country("60.0.1.255") == "JP"
    assert (country("60.0.5.0"), country("60.0.5.64"), country("60.0.5.128")) == ("US", "GB", None)
    rule = table.loci[table.find4(int(ip_network("60.0.7.192").network_address))[0]]
    assert rule.networks == frozenset(networks("60.0.7.192/26"))
    assert {scope for _, scope in table.leaves if scope > 24} <= {25, 26}


orders = st.permutations(("a", "b", "c")).map(lambda order: tuple((name, 0.1) for name in order))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    rules=lists,
    measured=st.dictionaries(nets, orders, max_size=8),
    by_country=st.dictionaries(st.sampled_from(COUNTRIES), orders),
    data=st.data(),
)
def test_times_are_of_the_innermost_measured_network_and_scopes_partition_the_space(
    tmp_path: Path,
    rules: list[IPNetwork],
    measured: dict[IPNetwork, tuple[tuple[str, float], ...]],
    by_country: dict[str, tuple[tuple[str, float], ...]],
    data: st.DataObject,
) -> None:
    cut = ["1.0.0.0/8", "1.2.0.0/17", "2600::/17"]
    path = write(tmp_path / "t.mmdb", {text: nested(COUNTRIES[i]) for i, text in enumerate(cut)})
    space = build_space([path])

    def rtts_of(place: Place, network: IPNetwork | None) -> tuple[tuple[str, float], ...]:
        return measured[network] if network is not None else by_country.get(place.country or "", ())

    def known(locus: Locus) -> Hashable:
        return locus.place.country, locus.networks, locus.rtts

    table = classify(space, rules, known, "key", measured=measured, rtts_of=rtts_of)
    addresses = candidates([*rules, *measured, *networks(*cut)])
    found = {address: find(table, address) for address in addresses}
    for address, (class_, scope) in found.items():
        place = space.find(address).place
        times = innermost(address, measured) or by_country.get(place.country or "", ())
        around = frozenset(n for n in rules if n.version == address.version and address in n)
        assert known(table.loci[class_]) == (place.country, around, times)
        mine = block(address, scope)
        low = int(mine.network_address)
        drawn = type(address)(data.draw(st.integers(low, int(mine.broadcast_address))))
        inside = [mine.network_address, mine.broadcast_address, drawn, *(a for a in addresses if a in mine)]
        assert {find(table, a) for a in inside} == {(class_, scope)}


def test_measured_networks_that_cannot_be_told_apart_are_left_out(space: PlaceSpace) -> None:
    measured = networks("2600::/65", "2002:102::/32", "1.0.0.0/24")
    seen: set[IPNetwork | None] = set()

    def rtts_of(_: Place, network: IPNetwork | None) -> tuple[tuple[str, float], ...]:
        seen.add(network)
        return ()

    classify(space, (), class_of, "key", measured=measured, rtts_of=rtts_of)
    assert seen == {None, measured[2]}
