"""The decision: effective health, thresholds, and that history does not change what is decided."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.plan import Decision, Dependents, decide
from gtm.model.check import Target
from gtm.model.health import Health
from gtm.model.override import Action, Override, Subject
from gtm.model.plan import Plan
from tests.decide.world import POOL, deployment, down, snapshot, targets_of


def order(kind: str, name: str, action: Action, until_s: float | None = None) -> Override:
    return Override(
        subject=Subject(kind=kind, name=name), action=action, owner="ann", reason="test", since_s=0, until_s=until_s
    )


def up_regions(decision: Decision) -> set[str]:
    return {name for name, region in decision.plan.pools[POOL.name].regions.items() if region.available}


def test_a_region_is_down_when_its_share_of_healthy_instances_falls_below_its_threshold() -> None:
    first, second, third = targets_of("us-east")
    assert "us-east" in up_regions(decide(snapshot(health={first: Health.DOWN})))
    assert "us-east" not in up_regions(decide(snapshot(health={first: Health.DOWN, second: Health.DOWN})))
    loose = deployment(pools=(replace(POOL, threshold=0.0),))
    assert "us-east" in up_regions(decide(snapshot(loose, {first: Health.DOWN, second: Health.DOWN})))
    all_down = dict.fromkeys((first, second, third), Health.DOWN)
    assert "us-east" not in up_regions(decide(snapshot(loose, all_down)))


def test_unknown_is_not_down_but_known_instances_are_answered_first() -> None:
    first, *others = targets_of("us-east")
    fresh = decide(snapshot(others=Health.UNKNOWN)).plan.pools[POOL.name].regions["us-east"]
    assert fresh.available
    assert all(instance.available for instance in fresh.instances)
    judged = decide(snapshot(health={first: Health.UP} | dict.fromkeys(others, Health.UNKNOWN)))
    assert [i.available for i in judged.plan.pools[POOL.name].regions["us-east"].instances] == [True, False, False]


def test_orders_of_people_beat_checks_and_down_beats_up() -> None:
    drained = decide(snapshot(overrides=(order("region", "us-east", Action.DRAIN),)))
    assert "us-east" not in up_regions(drained)
    instance = drained.plan.pools[POOL.name].regions["us-east"].instances[0]
    assert (instance.health, instance.reason) == (Health.DRAINING, "drained by ann at region/us-east: test")
    forced = decide(snapshot(health=down("us-east"), overrides=(order("region", "us-east", Action.FORCE_UP),)))
    assert "us-east" in up_regions(forced)
    one = order("instance", "us-east/192.0.2.11", Action.FORCE_UP)
    both = decide(snapshot(overrides=(one, order("region", "us-east", Action.DRAIN))))
    assert "us-east" not in up_regions(both)
    assert up_regions(decide(snapshot(overrides=(order("pool", POOL.name, Action.FORCE_DOWN),)))) == set()


def test_an_override_ends_by_itself() -> None:
    drain = order("region", "us-east", Action.DRAIN, until_s=1000.0)
    assert "us-east" not in up_regions(decide(snapshot(overrides=(drain,), now_s=999.9)))
    assert "us-east" in up_regions(decide(snapshot(overrides=(drain,), now_s=1000.0)))


def test_the_last_good_regions_are_remembered_through_any_number_of_decisions() -> None:
    good = decide(snapshot())
    gone = decide(snapshot(health=down("us-east", "eu-west", "ap-southeast", "us-west")), good)
    later = decide(snapshot(health=down("us-east", "eu-west", "ap-southeast", "us-west"), revision=3), gone)
    for decision in (gone, later):
        pool = decision.plan.pools[POOL.name]
        assert pool.all_down
        assert pool.last_good == good.plan.pools[POOL.name].regions
    assert decide(snapshot(), later).plan.pools[POOL.name].last_good is None


TWIN = replace(POOL, name="example.com/twin")  # has the same in every region, so the two share their parts
HEALTHS = st.sampled_from([Health.UP, Health.DOWN, Health.UNKNOWN, Health.DEGRADED])
ORDERS = st.lists(
    st.builds(
        order,
        st.sampled_from(["region", "instance", "pool"]),
        st.sampled_from(["us-east", "eu-west", "us-east/192.0.2.11", POOL.name, TWIN.name, "nowhere"]),
        st.sampled_from(list(Action)),
        st.sampled_from([None, 1500.0]),
    ),
    max_size=3,
).map(tuple)
TARGETS = sorted(deployment().targets(), key=str)


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from(TARGETS), HEALTHS), ORDERS), min_size=1, max_size=6))
def test_whatever_was_decided_before_equal_snapshots_give_equal_plans(
    steps: list[tuple[dict[Target, Health], tuple[Override, ...]]],
) -> None:
    wanted = deployment(pools=(POOL, TWIN))
    dependents = Dependents.of(wanted)
    decision = None
    for revision, (health, overrides) in enumerate(steps):
        now = snapshot(wanted, health, overrides, revision=revision, now_s=1000.0 + 300 * revision)
        decision = decide(now, decision, dependents)
        assert without_history(decision.plan) == without_history(decide(now).plan)


def without_history(plan: Plan) -> Plan:
    return replace(plan, pools={name: pool._replace(last_good=None) for name, pool in plan.pools.items()})


def test_an_order_on_one_pool_leaves_the_pools_alone_that_share_its_parts() -> None:
    wanted = deployment(pools=(POOL, TWIN))
    dependents = Dependents.of(wanted)
    before = decide(snapshot(wanted), None, dependents)
    drained = decide(snapshot(wanted, overrides=(order("pool", TWIN.name, Action.DRAIN),)), before, dependents)
    assert drained.touched == (TWIN.name,)
    assert drained.plan.pools[TWIN.name].all_down
    assert drained.plan.pools[POOL.name] is before.plan.pools[POOL.name]
    again = decide(snapshot(wanted), drained, dependents)
    assert without_history(again.plan) == without_history(before.plan)


def test_only_regions_whose_inputs_changed_are_planned_anew() -> None:
    wanted = deployment(pools=(POOL, TWIN))
    dependents = Dependents.of(wanted)
    before = decide(snapshot(wanted), None, dependents)
    after = decide(snapshot(wanted, down("us-east")), before, dependents)
    assert set(after.touched) == {POOL.name, TWIN.name}
    for name, region in after.plan.pools[POOL.name].regions.items():
        assert (region is before.plan.pools[POOL.name].regions[name]) == (name != "us-east")
        assert region is after.plan.pools[TWIN.name].regions[name]


def test_a_target_that_is_forgotten_is_unknown_again() -> None:
    wanted = deployment()
    before = decide(snapshot(wanted, down("us-east")))
    forgotten = replace(snapshot(wanted), judgements={})
    assert decide(forgotten, before, Dependents.of(wanted)).plan.pools == decide(forgotten).plan.pools
