"""Estimates of round-trip times: smoothing that does not depend on the rate, outliers, levels, bounds, octets."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.rtt import Estimate, Estimates, fold, levels, merged, pooled, warm
from gtm.decide.rtt_codec import MAGIC, UnreadableError, dump, load
from gtm.model.address import IPNetwork
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSample, RttSettings

SETTINGS = RttSettings()
NET = ip_network("203.0.113.0/24")


def sample(rtt_s: float, at_s: float, network: IPNetwork = NET, region: str = "us-east", count: int = 1) -> RttSample:
    return RttSample(network=network, region=region, rtt_s=rtt_s, at_s=at_s, count=count)


def folded(times: list[tuple[float, float]], settings: RttSettings = SETTINGS) -> Estimate:
    """The estimate after (at, time) measurements, in the order given."""
    found: Estimate | None = None
    for at_s, rtt_s in times:
        found = fold(found, sample(rtt_s, at_s), settings, 1e9)
    assert found is not None
    return found


@pytest.mark.parametrize("interval_s", [1, 10, 60, 300])
def test_half_of_a_lasting_change_is_followed_in_a_half_life_whatever_the_rate(interval_s: int) -> None:
    before = [(float(t), 0.100) for t in range(0, 36_000, interval_s)]
    # A change small enough not to be taken for an outlier.
    after = [(36_000.0 + t, 0.104) for t in range(0, int(SETTINGS.half_life_s), interval_s)]
    assert folded(before + after).rtt_s == pytest.approx(0.102, abs=0.0004)


@given(st.permutations([(60.0 * i, 0.100 + 0.002 * (i % 3)) for i in range(8)]))
def test_the_order_of_arrival_hardly_matters(times: list[tuple[float, float]]) -> None:
    found, sorted_ = folded(times), folded(sorted(times))
    assert found.rtt_s == pytest.approx(sorted_.rtt_s, rel=0.01)
    assert (found.samples, found.at_s) == (sorted_.samples, sorted_.at_s)
    assert found.weight == pytest.approx(sorted_.weight)


def test_one_wild_outlier_moves_the_estimate_by_less_than_the_dead_band() -> None:
    steady = [(60.0 * i, 0.100) for i in range(30)]
    for wild_s in (0.0, 3.0, 60.0, 1e9):
        found = folded([*steady, (1800.0, wild_s)])
        assert abs(found.rtt_s - 0.100) < SETTINGS.band_share * 0.100 / 4


def test_a_lasting_change_of_three_times_is_followed_all_the_same() -> None:
    steady = [(60.0 * i, 0.050) for i in range(60)]
    changed = [(3600 + 60.0 * i, 0.150) for i in range(60)]
    assert folded(steady + changed).rtt_s == pytest.approx(0.150, rel=0.05)


def test_a_mean_of_many_counts_as_many() -> None:
    many = fold(fold(None, sample(0.1, 0.0), SETTINGS, 10), sample(0.104, 0.0, count=3), SETTINGS, 10)
    assert many.rtt_s == pytest.approx(0.103)
    assert (many.samples, many.weight) == (4, 4.0)


def test_what_is_older_than_age_max_is_forgotten_and_warm_needs_samples_and_freshness() -> None:
    old = folded([(float(i), 0.1) for i in range(10)])
    assert warm(old, SETTINGS, 9 + SETTINGS.age_max_s)
    assert not warm(old, SETTINGS, 10 + SETTINGS.age_max_s)
    assert not warm(old._replace(samples=4), SETTINGS, 10)
    anew = fold(old, sample(0.2, 20 + SETTINGS.age_max_s), SETTINGS, 1e9)
    assert (anew.rtt_s, anew.samples) == (0.2, 1)


def test_a_clock_that_was_an_hour_ahead_does_not_freeze_the_estimate() -> None:
    ahead = folded([(3600.0 + 60 * i, 0.1) for i in range(20)])
    found = ahead
    for i in range(20):
        found = fold(found, sample(0.103, 60.0 * i), SETTINGS, 60.0 * i)
    assert found.at_s == 19 * 60.0
    assert found.rtt_s > 0.1015


def test_the_networks_measured_longest_ago_go() -> None:
    settings = RttSettings(networks_max=100)
    estimates = Estimates()
    nets: list[IPNetwork] = [IPv4Network((i << 8, 24)) for i in range(1000)]
    estimates.add((sample(0.1, float(i), net) for i, net in enumerate(nets[:100])), settings, 1e6)
    assert len(estimates.networks) == 100
    estimates.add([sample(0.1, 2000.0, nets[0])], settings, 1e6)
    estimates.add((sample(0.1, 3000.0 + i, net) for i, net in enumerate(nets[100:110])), settings, 1e6)
    assert len(estimates.networks) == 95
    assert nets[0] in estimates.networks
    assert set(nets[100:110]) < estimates.networks.keys()
    assert estimates.networks.keys().isdisjoint(nets[1:16])
    estimates.forget(10.0, 3015.0)
    assert set(estimates.networks) == set(nets[105:110])


def test_levels_pool_what_their_networks_say_and_no_network_outweighs_the_others() -> None:
    nets: list[IPNetwork] = [IPv4Network((i << 8, 24)) for i in range(4)]
    places = dict(
        zip(nets, [Place(country="BR", asn=1), Place(country="BR", asn=1), Place(country="BR"), Place()], strict=True)
    )
    known = {
        net: {"a": Estimate(0.1 * (i + 1), 0.01, 5.0, (10_000, 20, 20, 20)[i], 1000.0 + i)}
        for i, net in enumerate(nets)
    }
    found = levels(known, places.__getitem__, SETTINGS, 2000.0)
    assert found.asns[Asn(asn=1)]["a"].rtt_s == pytest.approx(0.15)
    assert found.asns[Asn(asn=1)]["a"].spread_s == pytest.approx(0.05)
    brazil = found.countries[Country(code="BR")]["a"]
    assert brazil.rtt_s == pytest.approx(0.2)
    assert (brazil.samples, brazil.at_s) == (10_040, 1002.0)
    assert len(dict(found.items())) == 6
    gone = levels(known, places.__getitem__, SETTINGS, 1001.5 + SETTINGS.age_max_s)
    assert gone.asns[Asn(asn=1)] == {}
    assert gone.countries[Country(code="BR")]["a"].rtt_s == pytest.approx(0.3)


def test_nodes_together_know_what_each_knows() -> None:
    a, b = Estimate(0.1, 0.01, 2.0, 10, 5.0), Estimate(0.2, 0.01, 2.0, 30, 6.0)
    other = ip_network("2001:db8::/48")
    whole = merged([{NET: {"x": a}}, {NET: {"x": b, "y": b}, other: {"x": a}}])
    assert whole == {NET: {"x": pooled([a, b]), "y": b}, other: {"x": a}}
    assert whole[NET]["x"].rtt_s == pytest.approx(0.175)


networks = st.builds(
    lambda n, bits: IPv4Network((n >> 32 - bits << 32 - bits, bits)), st.integers(0, 2**32 - 1), st.integers(8, 24)
) | st.builds(
    lambda n, bits: IPv6Network((n >> 64 - bits << 128 - bits, bits)), st.integers(0, 2**64 - 1), st.integers(8, 64)
)
estimates = st.builds(
    Estimate,
    st.floats(0, 60),
    st.floats(0, 60),
    st.floats(0, 1e6, width=32),
    st.integers(1, 65_535),
    st.integers(1_700_000_000, 1_800_000_000).map(float),
)
tables = st.dictionaries(networks, st.dictionaries(st.sampled_from(("us-east", "eu", "é")), estimates, min_size=1))


@given(tables)
def test_what_is_dumped_is_loaded(table: dict[IPNetwork, dict[str, Estimate]]) -> None:
    found = load(dump(table))
    assert found.keys() == table.keys()
    for network, regions in table.items():
        assert found[network].keys() == regions.keys()
        for region, one in regions.items():
            assert found[network][region] == pytest.approx(one, abs=1e-6, rel=0)


@given(tables, st.integers(0, 400), st.integers(0, 255))
def test_damage_is_refused_or_reads_as_numbers_in_range(
    table: dict[IPNetwork, dict[str, Estimate]], at: int, octet: int
) -> None:
    plain = bytearray(zlib.decompress(dump(table)[len(MAGIC) :]))
    plain[at % len(plain)] = octet
    try:
        found = load(MAGIC + zlib.compress(bytes(plain)))
    except UnreadableError:
        return
    for regions in found.values():
        for one in regions.values():
            assert 0 <= one.rtt_s <= 60
            assert one.samples > 0


@pytest.mark.parametrize("octets", [b"", b"GTMRTT2\0", MAGIC, MAGIC + b"x", dump({})[:-3], dump({}) + b"x"])
def test_what_is_no_dump_is_refused(octets: bytes) -> None:
    with pytest.raises(UnreadableError):
        load(octets)


def test_20_000_networks_fit_and_more_are_cut_to_the_newest() -> None:
    rand = random.Random(1)
    table: dict[IPNetwork, dict[str, Estimate]] = {
        IPv4Network((rand.getrandbits(24) << 8, 24)): {
            region: Estimate(rand.uniform(0.01, 0.3), rand.uniform(0, 0.02), rand.uniform(1, 15), 40, 1e9 + i)
            for region in ("us-east", "eu-west", "us-west")
        }
        for i in range(20_000)
    }
    assert len(dump({net: {"a": one["us-east"]} for net, one in table.items()})) < 400_000
    whole = dump(table)
    assert len(whole) <= 1_000_000
    assert load(whole).keys() == table.keys()
    part = load(dump(table, size_max=100_000))
    assert len(part) > 1000
    oldest = min(one["us-east"].at_s for net, one in table.items() if net in part)
    assert {net for net, one in table.items() if one["us-east"].at_s > oldest} <= part.keys()


def test_samples_of_no_sense_are_kept_within_bounds() -> None:
    found = fold(None, replace(sample(-1.0, 5.0), count=0), SETTINGS, 1.0)
    assert (found.rtt_s, found.samples, found.at_s) == (0.0, 1, 1.0)
