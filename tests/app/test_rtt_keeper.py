"""From measured times to classes: the keeper over its life, and a bundle's classes rebuilt by what it prefers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.answer.client import locate
from gtm.app.bundle import Bundle, build, relocate
from gtm.app.rtt import RttKeeper, key_of, key_text, read_kept
from gtm.app.rtt_places import place_finder
from gtm.decide.prefer import Preference, Preferences
from gtm.decide.rtt import Key
from gtm.decide.steer import order_for
from gtm.geo.classify import TooManyError, classify
from gtm.model.address import IPNetwork
from gtm.model.classes import ClassTable
from gtm.model.errors import PeerError, StoreError
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSample, RttSettings
from gtm.wire.ecs import Subnet
from tests.app.node import CHECKS_YAML, GTM_YAML, OVERRIDES, REGIONS_YAML, STEERING, ZONE, write
from tests.geo.databases import flat
from tests.geo.databases import write as write_database

SAO_PAULO = ip_network("203.0.9.0/24")
BRAZIL = Place(country="BR", asn=64500)
MEASURED_MS = {"us-east": 120.0, "eu-west": 180.0, "us-west": 150.0}
RTT_STEERING = STEERING.replace("answers: 2}", "answers: 2, steer: [{order: rtt}]}")


@dataclass
class Clock:
    now_s: float = 1e9

    def __call__(self) -> float:
        return self.now_s


def samples(
    times_ms: dict[str, float], at_s: float, network: IPNetwork = SAO_PAULO, count: int = 10
) -> Iterable[RttSample]:
    return [
        RttSample(network=network, region=region, rtt_s=ms / 1000, at_s=at_s, count=count)
        for region, ms in times_ms.items()
    ]


def folder_of(folder: Path, steering: str) -> Path:
    write(
        folder,
        {
            "gtm.yaml": GTM_YAML.format(port=5300, api="off").replace("geo: []", "geo: [geodata/asn.mmdb]"),
            "geodata/overrides.csv": OVERRIDES + "203.0.9.0/24,BR,,-23.5,-46.6\n198.51.0.0/16,BR,,-23.5,-46.6\n",
            "geodata/regions.yaml": REGIONS_YAML,
            "probes/checks.yaml": CHECKS_YAML.format(web=80),
            "probes/rtt.yaml": "{}\n",
            "zones/example.com.zone": ZONE,
            "zones/example.com.yaml": steering,
        },
    )
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    folder = tmp_path_factory.mktemp("rtt")
    (folder / "geodata").mkdir()
    write_database(
        folder / "geodata/asn.mmdb",
        {
            "198.51.0.0/16": {"country_code": "BR", "autonomous_system_number": 64500},
            "203.0.8.0/21": {"country_code": "BR", "autonomous_system_number": 64501},
        },
    )
    return build(folder_of(folder, RTT_STEERING), folder / "cache"), folder / "cache"


def order_at(bundle: Bundle, address: str) -> tuple[str, ...]:
    packed = ip_address(address).packed
    found = locate(bundle.classes, packed, Subnet(family=1, source=32, address=packed))
    (policy,) = bundle.deployment.policies()
    return order_for(policy, bundle.classes.loci[found.class_], bundle.deployment.regions)


def preference(*regions: str, samples_: int = 10) -> Preference:
    return Preference(
        rtts=tuple((name, 0.01 * (i + 1)) for i, name in enumerate(regions)), since_s=0.0, samples=samples_
    )


def test_the_seed_case_from_samples_to_the_order_of_a_client(built: tuple[Bundle, Path]) -> None:
    bundle, cache = built
    clock = Clock()
    keeper = RttKeeper(RttSettings(), "us-east", place_finder(bundle.geography, cache), clock)
    assert order_at(bundle, "203.0.9.7")[:2] == ("us-east", "eu-west"), "nothing measured: the nearest"
    keeper.add(samples(MEASURED_MS, clock.now_s))
    preferences = keeper.tick(clock.now_s)
    assert preferences is not None
    moved = relocate(bundle, preferences, cache)
    assert order_at(moved, "203.0.9.7")[:3] == ("us-east", "us-west", "eu-west")
    assert order_at(moved, "203.0.2.7") == order_at(bundle, "203.0.2.7"), "others stay"
    for _ in range(40):
        clock.now_s += 60
        keeper.add(samples(MEASURED_MS | {"us-east": 200.0}, clock.now_s, count=1))
    later = keeper.tick(clock.now_s)
    assert later is not None
    assert order_at(relocate(moved, later, cache), "203.0.9.7")[0] == "us-west"


def test_networks_go_by_their_as_and_country_where_they_are_thin(built: tuple[Bundle, Path]) -> None:
    bundle, cache = built
    by_key: dict[Key, Preference] = {
        Country(code="BR"): preference("us-west", "us-east"),
        Asn(asn=64500): preference("eu-west", "us-east"),
        ip_network("198.51.7.0/24"): preference("ap-southeast", "us-east"),
    }
    moved = relocate(bundle, Preferences(by_key=by_key), cache)
    assert [order_at(moved, text)[0] for text in ("203.0.9.1", "198.51.6.1", "198.51.7.1", "198.51.8.1")] == [
        "us-west",
        "eu-west",
        "ap-southeast",
        "eu-west",
    ]
    assert moved.geography.asns >= {64500}
    assert order_at(moved, "203.0.2.7") == order_at(bundle, "203.0.2.7")


def test_relocate_shares_all_but_classes_and_layout_and_takes_what_is_in_the_cache(built: tuple[Bundle, Path]) -> None:
    bundle, cache = built
    preferences = Preferences(by_key={SAO_PAULO: preference("us-west", "us-east")})
    moved = relocate(bundle, preferences, cache)
    assert moved.preferences is preferences
    assert relocate(moved, preferences, cache) is moved
    assert moved.classes_file != bundle.classes_file
    assert moved.authority is bundle.authority
    assert moved.zones is bundle.zones
    assert moved.layout.index == bundle.layout.index
    # Times of the same preference that were taken later make no other file.
    same = Preferences(by_key={SAO_PAULO: replace(preferences.by_key[SAO_PAULO], since_s=99.0)})
    assert relocate(moved, same, cache).classes is moved.classes


def test_build_with_preferences_is_relocate(built: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, cache = built
    preferences = Preferences(
        by_key={SAO_PAULO: preference("us-west", "us-east"), Asn(asn=64500): preference("a", "b")}
    )
    again = build(cache.parent, tmp_path, preferences=preferences)
    moved = relocate(bundle, preferences, cache)
    assert again.classes_file.name == moved.classes_file.name
    assert bytes(again.classes.leaves24) == bytes(moved.classes.leaves24)
    assert again.classes.loci == moved.classes.loci


def test_without_a_policy_by_rtt_preferences_make_no_classes(tmp_path: Path) -> None:
    (tmp_path / "geodata").mkdir()
    write_database(tmp_path / "geodata/asn.mmdb", {"198.51.0.0/16": flat("BR")})
    bundle = build(folder_of(tmp_path, STEERING), tmp_path / "cache")
    moved = relocate(bundle, Preferences(by_key={SAO_PAULO: preference("us-west", "us-east")}), tmp_path / "cache")
    assert moved.classes is bundle.classes
    assert moved.layout is bundle.layout


def test_where_the_table_is_full_the_networks_with_the_fewest_samples_are_left_out(
    built: tuple[Bundle, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, cache = built
    tried: list[int] = []

    def small(*args: object, **named: object) -> ClassTable:
        measured = list(named["measured"])  # type: ignore[call-overload]
        tried.append(len(measured))
        if len(measured) > 3:
            raise TooManyError("too many", file="policy rules")
        return classify(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("gtm.app.geography.classify", small)
    nets = [IPv4Network((0xCB000900 + (i << 8), 24)) for i in range(12)]
    by_key: dict[Key, Preference] = {
        net: preference("us-west", "us-east", samples_=5 + i) for i, net in enumerate(nets)
    }
    moved = relocate(bundle, Preferences(by_key=by_key), cache)
    assert tried == [12, 6, 3]
    assert "the 9 with the fewest samples go by their AS or country" in moved.notes[0]
    assert order_at(moved, str(nets[11][1]))[0] == "us-west"
    assert order_at(moved, str(nets[0][1]))[0] == "us-east"


blocks = st.integers(0, 15).map(lambda i: IPv4Network((0xCB000000 + (i << 8), 24)))
names = st.permutations(("us-east", "eu-west", "ap-southeast", "us-west"))


@settings(max_examples=25, deadline=None)
@given(wanted=st.dictionaries(blocks, names, max_size=8), low=st.lists(st.integers(0, 4095), min_size=1, max_size=20))
def test_every_address_gets_what_its_network_prefers_and_its_scope_is_all_alike(
    built: tuple[Bundle, Path], wanted: dict[IPNetwork, list[str]], low: list[int]
) -> None:
    bundle, cache = built
    by_key: dict[Key, Preference] = {net: preference(*order) for net, order in wanted.items()}
    moved = relocate(bundle, Preferences(by_key=by_key), cache)
    for each in low:
        address = ip_address(0xCB000000 + each)
        network = ip_network(f"{address}/24", strict=False)
        expected = tuple(wanted[network]) if network in wanted else order_at(bundle, str(address))
        assert order_at(moved, str(address)) == expected
        scope = moved.classes.find4(int(address))[1]
        block = ip_network(f"{address}/{scope}", strict=False)
        for other in (*wanted, network):
            if other.version == 4 and other.network_address in block:
                assert order_at(moved, str(other.network_address)) == expected


# The keeper.


def keeper_of(clock: Clock, **changes: object) -> RttKeeper:
    return RttKeeper(replace(RttSettings(), **changes), "us-east", lambda _: BRAZIL, clock)  # type: ignore[arg-type]


def test_a_tick_says_what_changed_once_and_not_too_often() -> None:
    clock = Clock()
    keeper = keeper_of(clock)
    assert keeper.tick(clock.now_s) is None
    keeper.add(samples(MEASURED_MS, clock.now_s))
    assert keeper.tick(clock.now_s + 29) is None
    found = keeper.tick(clock.now_s + 30)
    assert found is not None
    assert found.by_key.keys() == {SAO_PAULO, Asn(asn=64500), Country(code="BR")}
    assert keeper.tick(clock.now_s + 60) is None
    assert keeper.tick(clock.now_s - 3600) is not None, "the clock was set back: the dwell begins anew"
    assert keeper.preferences.by_key[SAO_PAULO].rtts == found.by_key[SAO_PAULO].rtts


def test_nodes_learn_from_each_other_what_each_measures_from_its_own_region() -> None:
    clock = Clock()
    east, west = keeper_of(clock), keeper_of(clock)
    east.add(samples({"us-east": 120}, clock.now_s))
    west.add(samples({"us-west": 90}, clock.now_s))
    assert east.tick(clock.now_s) is None, "one region alone says nothing"
    told = west.own()
    assert told is not None
    assert west.own() is None, "nothing new"
    west.add(samples({"us-west": 90}, clock.now_s, count=1))
    assert west.own() is None, "told just now"
    clock.now_s += 30
    assert west.own() is not None
    clock.now_s -= 30
    east.heard("west", told)
    found = east.tick(clock.now_s + 30)
    assert found is not None
    assert found.by_key[SAO_PAULO].order == ("us-west", "us-east")
    summary = east.summary()
    assert (summary.networks, summary.warm, summary.regions) == (1, 1, ("us-east", "us-west"))
    assert (summary.networks_preferring, summary.asns_preferring, summary.countries_preferring) == (1, 1, 1)
    assert summary.nodes == ("west",)
    assert summary.changed_at_s == clock.now_s + 30
    east.heard("west", b"")
    assert east.summary().nodes == ()
    with pytest.raises(PeerError, match="west: its round-trip times"):
        east.heard("west", told[:-2])


def test_what_was_saved_is_taken_over_and_a_file_read_again_counts_once(tmp_path: Path) -> None:
    clock = Clock()
    keeper = keeper_of(clock)
    measured = samples(MEASURED_MS, clock.now_s - 100)
    keeper.add(measured)
    keeper.tick(clock.now_s)
    keeper.heard("west", keeper.own() or b"")
    keeper.save(tmp_path / "rtt")
    again = keeper_of(clock)
    again.load(tmp_path / "rtt")
    assert {key: one.order for key, one in again.preferences.by_key.items()} == {
        key: one.order for key, one in keeper.preferences.by_key.items()
    }
    assert again.tick(clock.now_s + 1) is None
    again.add(measured)
    assert {one.samples for one in again._own.networks[SAO_PAULO].values()} == {10}
    again.add(samples(MEASURED_MS, clock.now_s + 1, count=1))
    assert {one.samples for one in again._own.networks[SAO_PAULO].values()} == {11}
    kept = read_kept(tmp_path / "rtt")
    assert kept is not None
    assert kept.together()[SAO_PAULO]["us-east"].samples == 20
    assert set(kept.heard) == {"west"}


def test_no_file_is_nothing_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    keeper = keeper_of(Clock())
    keeper.load(tmp_path / "none")
    assert keeper.own() is None
    keeper.save(tmp_path / "rtt")
    octets = (tmp_path / "rtt").read_bytes()
    for damaged in (b"", b"x" * 40, octets[: len(octets) // 2], octets[:8]):
        (tmp_path / "rtt").write_bytes(damaged)
        with pytest.raises(StoreError):
            keeper.load(tmp_path / "rtt")


def test_other_settings_forget_networks_of_other_widths_and_those_too_many() -> None:
    clock = Clock()
    keeper = keeper_of(clock)
    nets = [IPv4Network((i << 8, 24)) for i in range(10)]
    for net in nets:
        keeper.add(samples(MEASURED_MS, clock.now_s, net))
    keeper.add(samples(MEASURED_MS, clock.now_s, ip_network("10.0.0.0/16")))
    keeper.tick(clock.now_s)
    assert keeper.summary().networks == 10
    keeper.configure(RttSettings(networks_max=4))
    keeper.tick(clock.now_s)
    assert keeper.summary().networks == 4
    keeper.configure(RttSettings(prefix4=20))
    keeper.tick(clock.now_s)
    assert keeper.summary().networks == 0


def test_an_area_preference_waits_for_other_geo_data(tmp_path: Path) -> None:
    clock = Clock()
    keeper = keeper_of(clock, dwell_s=0.0)
    keeper.add(samples(MEASURED_MS, clock.now_s))
    keeper.tick(clock.now_s)
    keeper.relocated(lambda _: Place(country="AR"))
    found = keeper.tick(clock.now_s)
    assert found is not None
    assert found.by_key.keys() == {SAO_PAULO, Country(code="AR")}


@pytest.mark.parametrize("text", ["192.0.2.0/24", "2001:db8::/48", "AS64500", "BR"])
def test_keys_are_written_as_people_write_them(text: str) -> None:
    assert key_text(key_of(text)) == text
