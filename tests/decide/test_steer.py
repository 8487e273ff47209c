"""Who is offered which regions, in which order."""

from ipaddress import ip_network

import pytest

from gtm.decide.steer import distance_km, matching_rule, nearest, order_for
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
