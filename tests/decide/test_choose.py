"""What is answered: failover in order, types, and the all_down rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gtm.decide.choose import RType, choose
from gtm.decide.explain import explain
from gtm.decide.plan import decide
from gtm.decide.steer import order_for
from gtm.model.name import Fallback, LastGood, NoData, ServeAll
from gtm.model.policy import Order, Policy, Rule
from tests.decide.world import POOL, REGIONS, WWW, at, deployment, down, snapshot, with_policy

ORDER = ("us-east", "eu-west", "ap-southeast", "us-west")
EVERYTHING = down(*ORDER)


def test_the_first_available_region_of_the_order_answers() -> None:
    for gone in range(4):
        plan = decide(snapshot(health=down(*ORDER[:gone]))).plan.pools[POOL.name]
        choice = choose(WWW, plan, ORDER, RType.A)
        assert choice.region == ORDER[gone]
        assert len(choice.instances) == 3
        assert [step.taken for step in choice.considered] == [False] * gone + [True]


def test_serve_all_answers_as_though_everything_were_up() -> None:
    plan = decide(snapshot(health=EVERYTHING)).plan.pools[POOL.name]
    choice = choose(replace(WWW, all_down=ServeAll()), plan, ORDER, RType.A)
    assert (choice.region, len(choice.instances), choice.rule) == ("us-east", 3, "all_down: serve_all")


def test_last_good_answers_what_was_up_last_and_else_everything() -> None:
    before = decide(snapshot(health=down("us-east", "us-west")))
    plan = decide(snapshot(health=EVERYTHING), before).plan.pools[POOL.name]
    name = replace(WWW, all_down=LastGood())
    assert choose(name, plan, ORDER, RType.A).region == "eu-west"
    unknown = decide(snapshot(health=EVERYTHING)).plan.pools[POOL.name]
    assert choose(name, unknown, ORDER, RType.A).region == "us-east"


def test_nodata_and_fallback_addresses() -> None:
    plan = decide(snapshot(health=EVERYTHING)).plan.pools[POOL.name]
    nothing = choose(replace(WWW, all_down=NoData()), plan, ORDER, RType.A)
    assert (nothing.region, nothing.instances, nothing.fallback) == (None, (), ())
    addresses = (ip_address("192.0.2.250"), ip_address("2001:db8::fa"))
    name = replace(WWW, all_down=Fallback(addresses=addresses))
    assert choose(name, plan, ORDER, RType.A).fallback == addresses[:1]
    assert choose(name, plan, ORDER, RType.AAAA).fallback == addresses[1:]


def test_a_region_without_the_type_is_passed_over() -> None:
    v4_only = tuple(replace(i, aaaa=None) if i.region == "us-east" else i for i in POOL.instances)
    pool = replace(POOL, instances=v4_only)
    plan = decide(snapshot(deployment(pools=(pool,)))).plan.pools[POOL.name]
    assert choose(WWW, plan, ORDER, RType.A).region == "us-east"
    choice = choose(WWW, plan, ORDER, RType.AAAA)
    assert (choice.region, choice.considered[0].reason) == ("eu-west", "no instance with AAAA")


def test_regions_that_an_order_does_not_list_are_never_answered() -> None:
    policy = Policy(rules=(Rule(order=Order(regions=("eu-west",))),))
    name = with_policy(policy)
    plan = decide(snapshot(health=down("eu-west"))).plan.pools[POOL.name]
    choice = choose(name, plan, order_for(policy, at("New York"), REGIONS), RType.A)
    assert (choice.region, choice.rule) == ("eu-west", "all_down: serve_all")


@pytest.mark.parametrize("gone", [(), ("us-east",), ("us-east", "us-west"), ORDER])
def test_an_explanation_agrees_with_the_choice(gone: tuple[str, ...]) -> None:
    plan = decide(snapshot(health=down(*gone))).plan.pools[POOL.name]
    told = explain(WWW, plan, at("New York"), REGIONS, RType.A)
    assert told.choice == choose(WWW, plan, told.order, RType.A)
    answered = {candidate.instance for candidate in told.candidates if candidate.answered}
    assert answered == {instance.label for instance in told.choice.instances}
    assert len(told.candidates) == len(POOL.instances)
    assert told.rules[-1].text == "from everyone: nearest"
    assert told.distances_km["us-east"] == pytest.approx(350, abs=60)
