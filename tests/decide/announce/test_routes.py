"""Routes: treatments on top of each other, words by provider, and attributes as they go onto the wire."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gtm.decide.announce.explain import attribute_words
from gtm.decide.announce.routes import routes, treatment, unknown_words
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import Allowed, Guard, Phase, Provider, Rung, Treatment
from gtm.model.route import (
    GRACEFUL_SHUTDOWN,
    Communities,
    Community,
    ExtendedCommunity,
    ExtendedKind,
    Family,
    LargeCommunity,
    Route,
)
from tests.decide.announce.scenes import LADDER, anycast, neighbour, service, speaker

V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48")
UP = Wish(phase=Phase.UP, reason="good", announce=True, address=True, look=Phase.UP)
NO_PEER_X = Communities(standard=(Community(64500, 990),), large=(LargeCommunity(64500, 6, 1),))
TRANSIT = Provider(name="transit", words={"not-to-x": NO_PEER_X, "europe": Communities()}, notes={})


def test_one_route_for_each_neighbour_and_family_in_file_order() -> None:
    second = neighbour(name="v4", address=ip_address("198.51.100.9"), families=(Family.IPV4,))
    found = routes(anycast(), speaker("a1", "a", neighbour(), second), service(), UP)
    assert [(str(route.neighbour), route.prefix) for route in found] == [
        ("198.51.100.1", V4),
        ("198.51.100.1", V6),
        ("198.51.100.9", V4),
    ]
    assert all(route.attributes.as_path == () and route.attributes.med is None for route in found)


def test_nothing_where_nothing_is_to_be_announced() -> None:
    assert routes(anycast(), speaker(), service(), replace(UP, announce=False)) == ()


def test_the_next_hop_is_by_family() -> None:
    other_hop = neighbour(next_hops={Family.IPV6: ip_address("2001:db8::2")})
    found = routes(anycast(), speaker("a1", "a", other_hop), service(), UP)
    assert [route.attributes.next_hop for route in found] == [None, ip_address("2001:db8::2")]


def test_what_the_allow_list_forbids_is_never_a_route() -> None:
    allowed = (Allowed(prefix=ip_network("203.0.112.0/22"), length_max=24), Allowed(prefix=V6, length_max=48))
    of = service(prefixes=(V4, ip_network("203.0.113.128/25"), ip_network("192.0.2.0/24"), V6))
    found = routes(anycast(guard=Guard(allowed=allowed), of=of), speaker(), of, UP)
    assert [route.prefix for route in found] == [V4, V6]


def _one(wish: Wish, **values: object) -> Route:
    return routes(anycast(ladder=LADDER, providers={"transit": TRANSIT}), _SPEAKER, service(**values), wish)[0]


_SPEAKER = speaker("a1", "a", neighbour(provider="transit"))
DRESSED = {
    "base": Treatment(med=10, prepend=1, communities=Communities(standard=(Community(64512, 1),))),
    "treatments": {Phase.DOWN: Treatment(med=1000), Phase.UP: Treatment(local_pref=200)},
    "providers": {"transit": Treatment(med=50, words=("not-to-x", "unheard-of"))},
}


def test_base_phase_and_provider_come_together() -> None:
    found = _one(UP, **DRESSED).attributes
    assert found.med == 50
    assert found.as_path == (64512, 64512)  # itself, and once more
    assert found.local_pref is None  # an external neighbour
    assert found.communities == Communities(standard=(Community(64512, 1),)) | NO_PEER_X


def test_rungs_come_last_and_stay_on_the_rungs_below() -> None:
    names = tuple(rung.name for rung in LADDER)
    seen = []
    for count in range(1, 5):
        wish = replace(UP, phase=Phase.DRAINING, rung=names[count - 1], rungs=names[:count])
        found = _one(wish, **DRESSED).attributes
        seen.append((found.med, len(found.as_path), GRACEFUL_SHUTDOWN in found.communities.standard))
    assert seen == [(50, 2, False), (50, 2, True), (1000, 5, True), (1000, 5, True)]
    assert treatment(anycast(), service(**DRESSED), neighbour(), replace(UP, rungs=names[:3])).prepend == 4


def test_held_is_as_good_as_down_and_shutting_down() -> None:
    held = replace(UP, phase=Phase.HELD)
    found = _one(held, treatments=DRESSED["treatments"]).attributes
    assert (found.med, found.communities.standard) == (1000, (GRACEFUL_SHUTDOWN,))
    own = _one(held, treatments={Phase.HELD: Treatment(med=7), Phase.DOWN: Treatment(med=1000)}).attributes
    assert (own.med, own.communities.standard) == (7, (GRACEFUL_SHUTDOWN,))


def test_a_phase_on_the_way_wears_what_was_before_it() -> None:
    treatments = {Phase.UP: Treatment(med=100), Phase.DOWN: Treatment(med=1000), Phase.DISABLED: Treatment(med=500)}
    for phase, look, med in [
        (Phase.FALLING, Phase.UP, 100),
        (Phase.RISING, Phase.DOWN, 1000),
        (Phase.DOWN, Phase.DOWN, 1000),
        (Phase.DISABLED, Phase.DISABLED, 500),
    ]:
        assert _one(replace(UP, phase=phase, look=look), treatments=treatments).attributes.med == med
    own = {**treatments, Phase.FALLING: Treatment(med=300)}
    assert _one(replace(UP, phase=Phase.FALLING), treatments=own).attributes.med == 300


def test_within_the_as_there_is_local_preference_and_no_path() -> None:
    inside = speaker("a1", "a", neighbour(asn=64512))
    of = service(base=Treatment(local_pref=200, prepend=3, med=5))
    found = routes(anycast(), inside, of, UP)[0].attributes
    assert (found.local_pref, found.as_path, found.med) == (200, (), 5)


@pytest.mark.parametrize(("asn", "administrator"), [(64512, 64512), (65535, 65535), (4200000000, 23456)])
def test_link_bandwidth_is_the_speakers_share(asn: int, administrator: int) -> None:
    weighted = speaker("a1", "a", neighbour(local_asn=asn), weight=0.25)
    of = service(base=Treatment(bandwidth=1_250_000_000))
    found = routes(anycast(), weighted, of, UP)[0].attributes.communities.extended
    assert found == (ExtendedCommunity(ExtendedKind.BANDWIDTH, administrator, 312_500_000),)


def test_a_ladder_that_never_withdraws_is_still_found_by_its_names() -> None:
    rungs = (Rung(name="far", treatment=Treatment(prepend=2)),)
    of = anycast(ladder=rungs)
    assert treatment(of, service(), neighbour(), replace(UP, rungs=("far", "withdraw"))).prepend == 2


def test_words_that_a_dictionary_does_not_have() -> None:
    of = anycast(providers={"transit": TRANSIT})
    assert unknown_words(of, neighbour(provider="transit"), ("not-to-x", "unheard-of")) == ("unheard-of",)
    assert unknown_words(of, neighbour(), ("not-to-x",)) == ("not-to-x",)


def test_attributes_in_words() -> None:
    of = anycast(providers={"transit": TRANSIT})
    held = _one(replace(UP, phase=Phase.HELD), **DRESSED).attributes
    assert attribute_words(of, neighbour(provider="transit"), held) == (
        "MED 50",
        "AS path 64512 64512",
        "not-to-x (transit)",
        "community 64500:990",
        "community 64512:1",
        "community 65535:0 (graceful-shutdown)",
        "large community 64500:6:1",
    )
