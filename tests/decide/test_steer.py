"""Who is offered which regions, in which order."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.steer import distance_km, matching_rule, nearest, order_for, quickest
from gtm.model.place import Coordinates, Locus, Place
from gtm.model.policy import Asn, Continent, Country, Network, Order, Policy, Rule, Subdivision
from tests.decide.world import PLACES, REGIONS, at


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ("New York", ("us-east", "us-west", "eu-west", "ap-southeast")),
        ("San Francisco", ("us-west", "us-east", "eu-west", "ap-southeast")),
        ("London", ("eu-west", "us-east", "us-west", "ap-southeast")),
        ("Sao Paulo", ("us-east", "eu-west", "us-west", "ap-southeast")),
        ("Tokyo", ("ap-southeast", "us-west", "eu-west", "us-east")),
        ("Sydney", ("ap-southeast", "us-west", "us-east", "eu-west")),
    ],
)
def test_a_client_without_a_rule_gets_every_region_nearest_first(place: str, order: tuple[str, ...]) -> None:
    assert order_for(Policy(), at(place), REGIONS) == order


def test_distances_are_great_circles() -> None:
    assert distance_km(PLACES["London"], PLACES["New York"]) == pytest.approx(5570, abs=15)
    antipodes = Coordinates(latitude=0, longitude=-90), Coordinates(latitude=0, longitude=90)
    assert distance_km(*antipodes) == pytest.approx(20015, abs=1)
    assert distance_km(PLACES["Tokyo"], PLACES["Tokyo"]) == 0


def test_clients_of_no_known_place_get_the_regions_by_share() -> None:
    assert nearest(None, REGIONS) == ("us-east", "eu-west", "ap-southeast", "us-west")


def test_the_first_rule_that_fits_wins_and_unknown_facts_match_nothing() -> None:
    net = ip_network("203.0.113.0/24")
    policy = Policy(
        rules=(
            Rule(matchers=(Network(network=net), Asn(asn=64500)), order=Order(regions=("us-west",))),
            Rule(matchers=(Subdivision(code="US-CA"),), order=Order(regions=("us-west", "us-east"))),
            Rule(matchers=(Country(code="BR"),), order=Order(regions=("eu-west",), nearest=True)),
            Rule(matchers=(Continent(code="AS"),), order=Order(regions=("ap-southeast",))),
        )
    )
    brazil = Place(country="BR", continent="SA", coordinates=PLACES["Sao Paulo"])
    cases = [
        (Locus(place=brazil, networks=frozenset({net})), ("us-west",)),
        (Locus(place=Place(country="BR", asn=64500)), ("us-west",)),
        (Locus(place=Place(country="US", subdivision="US-CA")), ("us-west", "us-east")),
        (Locus(place=brazil), ("eu-west", "us-east", "us-west", "ap-southeast")),
        (Locus(place=Place(continent="AS")), ("ap-southeast",)),
        (Locus(), ("us-east", "eu-west", "ap-southeast", "us-west")),
    ]
    for locus, order in cases:
        assert order_for(policy, locus, REGIONS) == order
    assert matching_rule(policy, Locus()).matchers == ()


BY_RTT = Policy(rules=(Rule(order=Order(nearest=True, rtt=True)),))


def measured(place: str, **times_ms: float) -> Locus:
    """A city with measured times, the shortest first."""
    rtts = sorted(((name.replace("_", "-"), ms / 1000) for name, ms in times_ms.items()), key=lambda each: each[1])
    return replace(at(place), rtts=tuple(rtts))


def test_a_client_in_sao_paulo_goes_where_the_way_is_shortest() -> None:
    first = measured("Sao Paulo", us_east=120, eu_west=180, us_west=150)
    assert order_for(BY_RTT, first, REGIONS) == ("us-east", "us-west", "eu-west", "ap-southeast")
    slow = measured("Sao Paulo", us_east=200, eu_west=180, us_west=150)
    assert order_for(BY_RTT, slow, REGIONS)[:3] == ("us-west", "eu-west", "us-east")
    for few in (at("Sao Paulo"), measured("Sao Paulo", us_west=1), measured("Sao Paulo", us_west=1, gone=2)):
        assert order_for(BY_RTT, few, REGIONS) == order_for(Policy(), at("Sao Paulo"), REGIONS)


def test_measured_times_are_for_orders_that_ask_for_them() -> None:
    quick = measured("Sao Paulo", us_east=200, eu_west=180, us_west=150)
    assert order_for(Policy(), quick, REGIONS) == nearest(PLACES["Sao Paulo"], REGIONS)
    listed = Policy(rules=(Rule(order=Order(regions=("us-east",), nearest=True, rtt=True)),))
    assert order_for(listed, quick, REGIONS) == ("us-east", "us-west", "eu-west", "ap-southeast")


def test_the_order_that_was_preferred_stands_though_times_differ_a_little() -> None:
    kept = replace(at("London"), rtts=(("us-west", 0.100), ("us-east", 0.095)))
    assert order_for(BY_RTT, kept, REGIONS)[-3:] == ("us-west", "us-east", "ap-southeast")


def test_an_unmeasured_region_is_first_only_if_it_is_nearer_by_more_than_the_detours() -> None:
    # In Tokyo ap-southeast is 5,300 km away: 80 ms are to be expected, and what everybody takes beyond that.
    far = measured("Tokyo", us_west=130, us_east=190)
    assert order_for(BY_RTT, far, REGIONS) == ("ap-southeast", "us-west", "eu-west", "us-east")
    # In New York us-east is at the door, but a client whose way to the network takes 60 ms takes them to there as well.
    slow = measured("New York", us_west=118, eu_west=137)
    assert order_for(BY_RTT, slow, REGIONS)[0] == "us-east"
    # The measured region is so quick that no distance of the other one beats it.
    quick = measured("San Francisco", us_west=13, us_east=60)
    assert order_for(BY_RTT, quick, REGIONS)[0] == "us-west"


def test_where_the_client_is_not_placed_unmeasured_regions_come_last_by_share() -> None:
    nowhere = Locus(rtts=(("us-west", 0.3), ("ap-southeast", 0.4)))
    assert order_for(BY_RTT, nowhere, REGIONS) == ("us-west", "ap-southeast", "us-east", "eu-west")


names = st.lists(st.sampled_from(sorted(REGIONS)), unique=True)


@given(names, st.lists(st.floats(0, 1), min_size=4, max_size=4), st.sampled_from([None, *PLACES.values()]))
def test_every_region_is_offered_once_and_measured_ones_in_their_order(
    regions: list[str], times: list[float], where: Coordinates | None
) -> None:
    rtts = tuple(zip(regions, times, strict=False))
    found = quickest(Locus(place=Place(coordinates=where), rtts=rtts), REGIONS)
    assert sorted(found) == sorted(REGIONS)
    if len(rtts) > 1:
        assert [name for name in found if name in regions] == regions
