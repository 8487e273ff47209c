"""Preferences by round-trip time: noise does not flip them, lasting changes do, and clocks may jump."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.prefer import NO_PREFERENCES, Preferences, band_s, prefer, ranked
from gtm.decide.rtt import Estimate, Estimates, Levels
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSample, RttSettings

SETTINGS = RttSettings()
NET = ip_network("203.0.113.0/24")
START_S = 1e6


def levels_of(times: dict[str, float], at_s: float = START_S, samples: int = 10) -> Levels:
    regions = {name: Estimate(rtt_s, 0.001, 5.0, samples, at_s) for name, rtt_s in times.items()}
    return Levels(networks={NET: regions}, asns={}, countries={})


def order(found: Preferences) -> tuple[str, ...]:
    return found.by_key[NET].order if NET in found.by_key else ()


def changes(times: dict[str, float], wanted: RttSettings, *, seed: int, noise: float, hours: float) -> tuple[int, int]:
    """How often the first region changed, and the dwells that the time holds: a sample of each region a minute."""
    rand = random.Random(seed)
    estimates, preferences, count, before = Estimates(), NO_PREFERENCES, 0, None
    for minute in range(int(hours * 60)):
        now_s = START_S + 60.0 * minute
        estimates.add(
            (
                RttSample(network=NET, region=name, rtt_s=rtt_s * rand.uniform(1 - noise, 1 + noise), at_s=now_s)
                for name, rtt_s in times.items()
            ),
            wanted,
            now_s,
        )
        preferences = prefer(preferences, Levels(networks=estimates.networks, asns={}, countries={}), wanted, now_s)
        first = order(preferences)[:1]
        if first:
            count += before is not None and first != before
            before = first
    return count, int(hours * 3600 / SETTINGS.dwell_s)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.005, 0.3),
    st.floats(0.5, 2.0),
    st.integers(0, 2**32),
)
def test_under_30_percent_noise_an_answer_changes_less_than_once_per_dwell(
    one_s: float, ratio: float, seed: int
) -> None:
    # Without the dwell: the dead band alone must do it.
    count, dwells = changes(
        {"a": one_s, "b": one_s * ratio}, replace(SETTINGS, dwell_s=0.0), seed=seed, noise=0.3, hours=48
    )
    assert count < dwells / 10


@pytest.mark.parametrize("seed", range(5))
def test_equal_regions_without_the_dead_band_would_change_far_more_often(seed: int) -> None:
    times = {"a": 0.1, "b": 0.1}
    without = replace(SETTINGS, band_share=0.0, band_s=0.0, dwell_s=0.0)
    bare, dwells = changes(times, without, seed=seed, noise=0.3, hours=96)
    with_dwell, _ = changes(times, replace(without, dwell_s=SETTINGS.dwell_s), seed=seed, noise=0.3, hours=96)
    both, _ = changes(times, SETTINGS, seed=seed, noise=0.3, hours=96)
    assert bare > dwells / 2
    assert with_dwell > 5 * max(both, 4)
    assert both < dwells / 20


@pytest.mark.parametrize("seed", range(3))
def test_raw_noise_without_smoothing_changes_more_than_once_per_dwell_unless_dwell_holds_it(seed: int) -> None:
    raw = replace(SETTINGS, half_life_s=0.0, band_share=0.0, band_s=0.0, dwell_s=0.0)
    count, dwells = changes({"a": 0.1, "b": 0.1}, raw, seed=seed, noise=0.3, hours=24)
    assert count > dwells
    held, _ = changes({"a": 0.1, "b": 0.1}, replace(raw, dwell_s=SETTINGS.dwell_s), seed=seed, noise=0.3, hours=24)
    assert held <= dwells


regions = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=2)


@given(regions, st.permutations("abcdef"), st.integers(0, 6))
def test_no_region_stands_before_one_that_beats_it_by_the_band(
    times: dict[str, float], previous: list[str], kept: int
) -> None:
    found = ranked(previous[:kept], times, SETTINGS)
    assert sorted(found) == sorted(times)
    for i, name in enumerate(found):
        assert all(times[later] >= times[name] - band_s(times[name], SETTINGS) for later in found[i:])
    assert ranked(found, times, SETTINGS) == found
    assert ranked((), times, replace(SETTINGS, band_share=0.0, band_s=0.0)) == tuple(
        sorted(times, key=lambda name: (times[name], name))
    )


def test_two_warm_regions_are_needed_and_equal_inputs_give_the_same_object() -> None:
    assert prefer(NO_PREFERENCES, levels_of({"a": 0.1}), SETTINGS, START_S) is NO_PREFERENCES
    assert prefer(NO_PREFERENCES, levels_of({"a": 0.1, "b": 0.2}, samples=4), SETTINGS, START_S) is NO_PREFERENCES
    found = prefer(NO_PREFERENCES, levels_of({"a": 0.2, "b": 0.1}), SETTINGS, START_S)
    assert found.by_key[NET].rtts == (("b", 0.1), ("a", 0.2))
    assert prefer(found, levels_of({"a": 0.19, "b": 0.11}), SETTINGS, START_S + 601) is found


def test_what_changes_waits_for_the_dwell_and_then_comes_at_once() -> None:
    first = prefer(NO_PREFERENCES, levels_of({"a": 0.1, "b": 0.2}), SETTINGS, START_S)
    turned = levels_of({"a": 0.3, "b": 0.2}, START_S + 599)
    assert prefer(first, turned, SETTINGS, START_S + 599) is first
    second = prefer(first, turned, SETTINGS, START_S + 600)
    assert order(second) == ("b", "a")
    assert second.by_key[NET].since_s == START_S + 600
    back = levels_of({"a": 0.1, "b": 0.2}, START_S + 1199)
    assert prefer(second, back, SETTINGS, START_S + 1199) is second
    assert order(prefer(second, back, SETTINGS, START_S + 1200)) == ("a", "b")


def test_within_the_band_nothing_changes_however_long_and_beyond_it_it_does() -> None:
    found = prefer(NO_PREFERENCES, levels_of({"a": 0.100, "b": 0.101}), SETTINGS, START_S)
    later_s = START_S + 86_000
    assert prefer(found, levels_of({"a": 0.100, "b": 0.0905}, later_s), SETTINGS, later_s) is found
    assert order(prefer(found, levels_of({"a": 0.100, "b": 0.0895}, later_s), SETTINGS, later_s)) == ("b", "a")
    # Of short times `band_s` decides.
    near = prefer(NO_PREFERENCES, levels_of({"a": 0.006, "b": 0.007}), SETTINGS, START_S)
    assert prefer(near, levels_of({"a": 0.006, "b": 0.0015}, later_s), SETTINGS, later_s) is near


def test_times_that_moved_far_are_renewed_though_the_order_stands() -> None:
    found = prefer(NO_PREFERENCES, levels_of({"a": 0.1, "b": 0.2}), SETTINGS, START_S)
    later_s = START_S + 5000
    renewed = prefer(found, levels_of({"a": 0.1, "b": 0.35}, later_s), SETTINGS, later_s)
    assert renewed.by_key[NET].rtts == (("a", 0.1), ("b", 0.35))


def test_a_preference_ends_when_its_estimates_are_too_old_or_gone() -> None:
    found = prefer(NO_PREFERENCES, levels_of({"a": 0.1, "b": 0.2}), SETTINGS, START_S)
    nothing = Levels(networks={}, asns={}, countries={})
    assert prefer(found, nothing, SETTINGS, START_S + 10) is found
    assert prefer(found, nothing, SETTINGS, START_S + 600).by_key == {}
    late_s = START_S + SETTINGS.age_max_s + 1
    assert prefer(found, levels_of({"a": 0.1, "b": 0.2}), SETTINGS, late_s).by_key == {}


def test_a_clock_set_back_or_forth_by_an_hour_flips_nothing_and_freezes_nothing() -> None:
    known = {"a": 0.1, "b": 0.2}
    found = prefer(NO_PREFERENCES, levels_of(known), SETTINGS, START_S)
    assert order(prefer(found, levels_of(known), SETTINGS, START_S + 3600)) == ("a", "b")
    back = prefer(found, levels_of(known), SETTINGS, START_S - 3600)
    assert back.by_key[NET].rtts == found.by_key[NET].rtts
    turned = levels_of({"a": 0.3, "b": 0.2}, START_S - 3600)
    assert order(prefer(back, turned, SETTINGS, START_S - 3001)) == ("a", "b")
    assert order(prefer(back, turned, SETTINGS, START_S - 3000)) == ("b", "a")


def test_the_most_specific_preference_fits() -> None:
    times = {"a": Estimate(0.1, 0.0, 5.0, 10, START_S), "b": Estimate(0.2, 0.0, 5.0, 10, START_S)}
    whole = Levels(networks={NET: times}, asns={Asn(asn=1): times}, countries={Country(code="BR"): times})
    found = prefer(NO_PREFERENCES, whole, SETTINGS, START_S)
    place = Place(country="BR", asn=1)
    keys = [found.at(place, NET), found.at(place), found.at(Place(country="BR", asn=2)), found.at(Place(country="US"))]
    assert [None if each is None else each[0] for each in keys] == [NET, Asn(asn=1), Country(code="BR"), None]
    assert found.networks() == (NET,)
    assert found.asns() == {1}
