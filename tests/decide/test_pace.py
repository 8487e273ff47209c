"""TTLs that follow from how soon an answer may change: ranges, and that history does not change what is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.answer.compile import Layout, compile_sets, layout, make_ring
from gtm.answer.table import SteeredSet
from gtm.decide.choose import RType, select, ttl_s
from gtm.decide.explain import explain
from gtm.decide.plan import Decision, Dependents, decide, plan_pool
from gtm.model.check import AtLeast, Cadence, Check, Composed, Member, Target, TcpProbe
from gtm.model.deployment import Deployment
from gtm.model.health import Health, Judgement, Vote
from gtm.model.name import LastGood, ServeAll, SteeredName
from gtm.model.override import Action, Override, Subject
from gtm.model.policy import Order, Policy, Rule
from gtm.model.snapshot import Snapshot
from tests.decide.world import CHECK, POOL, REGIONS, WWW, at, deployment, targets_of

ORDER = ("us-east", "eu-west", "ap-southeast", "us-west")
RANGED = replace(WWW, ttl_s=60, ttl_min_s=5)
CADENCE = Cadence(interval_s=10.0, fall=4, rise=3, fast_s=2.0)
PACED_CHECK = replace(CHECK, cadence=CADENCE)
UP = Judgement(health=Health.UP)
SHAKY = Judgement(health=Health.UP, streak=1, failures=1)
LAST = Judgement(health=Health.UP, streak=3, failures=3)
DOWN = Judgement(health=Health.DOWN, failures=9)


def wanted(*names: SteeredName) -> Deployment:
    return replace(deployment(*(names or (RANGED,))), checks={"web": PACED_CHECK})


def seen(
    deployed: Deployment, judgements: Mapping[Target, Judgement] | None = None, *overrides: Override, now_s: float = 1e3
) -> Snapshot:
    return Snapshot(
        revision=1,
        now_s=now_s,
        deployment=deployed,
        judgements=dict.fromkeys(deployed.targets(), UP) | dict(judgements or {}),
        overrides=overrides,
    )


def drain(subject: str, until_s: float | None = None) -> Override:
    return Override(
        subject=Subject.parse(subject), action=Action.DRAIN, owner="ann", reason="", since_s=0, until_s=until_s
    )


def ttl(decision: Decision, name: SteeredName = RANGED, rtype: RType = RType.A) -> int:
    """The TTL for a client that has ORDER."""
    pool = decision.plan.pools[POOL.name]
    selection = select(name.all_down, pool, ORDER, rtype)
    return ttl_s(selection, pool, ORDER, rtype, name.ttl_s, name.ttl_min_s)


def test_the_ttl_is_the_time_until_an_instance_may_change() -> None:
    first = targets_of("us-east")[0]
    for failures, expected in enumerate((10 + 3 * 2, 3 * 2, 5, 5)):  # never less than the least
        shaky = Judgement(health=Health.UP, streak=failures, failures=failures)
        assert ttl(decide(seen(wanted(), {first: shaky}))) == expected
    assert ttl(decide(seen(wanted()))) == 16
    calm = replace(PACED_CHECK, cadence=Cadence(interval_s=600.0))
    assert ttl(decide(seen(replace(wanted(), checks={"web": calm})))) == 60


def test_what_matters_are_the_region_that_answers_and_those_before_it() -> None:
    other = {targets_of("eu-west")[0]: SHAKY}
    assert ttl(decide(seen(wanted(), other))) == 16  # behind the one that answers
    gone = dict.fromkeys(targets_of("us-east"), DOWN)
    assert ttl(decide(seen(wanted(), gone))) == 10 + 2 * 2  # us-east may be back
    assert ttl(decide(seen(wanted(), gone | other))) == 6  # eu-west may be gone
    rising = gone | {targets_of("us-east")[2]: replace(DOWN, streak=2)}
    assert ttl(decide(seen(wanted(), rising))) == 5


def test_instances_without_weight_and_regions_without_the_type_do_not_matter() -> None:
    first = targets_of("us-east")[0]
    idle = replace(POOL, instances=tuple(replace(i, weight=0) if i is POOL.instances[0] else i for i in POOL.instances))
    deployed = replace(wanted(), pools={POOL.name: idle})
    assert ttl(decide(seen(deployed, {first: SHAKY}))) == 16
    v4 = replace(POOL, instances=tuple(replace(i, aaaa=None) if i.region == "us-east" else i for i in POOL.instances))
    deployed = replace(wanted(), pools={POOL.name: v4})
    assert ttl(decide(seen(deployed, {first: SHAKY})), rtype=RType.A) == 6
    assert ttl(decide(seen(deployed, {first: SHAKY})), rtype=RType.AAAA) == 16


@pytest.mark.parametrize("rule", [ServeAll(), LastGood()])
def test_where_nothing_is_available_or_known_it_is_the_least(rule: ServeAll | LastGood) -> None:
    name = replace(RANGED, all_down=rule)
    before = decide(seen(wanted(name)))
    gone = dict.fromkeys(before.snapshot.judgements, DOWN)
    assert ttl(decide(seen(wanted(name), gone), before), name) == 5
    unknown = replace(seen(wanted(name)), judgements={})
    assert ttl(decide(unknown), name) == 5


def test_the_end_of_an_order_bounds_it() -> None:
    for subject in ("region/us-east", f"pool/{POOL.name}", "instance/us-east/192.0.2.11"):
        assert ttl(decide(seen(wanted(), None, drain(subject, 1008.9)))) == (5 if subject.startswith("pool") else 8)
    assert ttl(decide(seen(wanted(), None, drain("region/us-east", 1000.0 + 3600)))) == 16
    forced = Override(
        subject=Subject.parse("region/us-east"), action=Action.FORCE_UP, owner="ann", reason="", since_s=0
    )
    assert ttl(decide(seen(wanted(), None, forced))) == 60  # nothing changes what is forced without end
    assert ttl(decide(seen(wanted(), None, replace(forced, until_s=1030.0)))) == 30


def test_an_end_that_comes_nearer_is_noticed_at_the_next_decision() -> None:
    deployed = wanted()
    dependents = Dependents.of(deployed)
    order = drain("instance/us-east/192.0.2.11", 1100.0)
    decision = decide(seen(deployed, None, order), None, dependents)
    assert ttl(decision) == 16
    for now_s, expected in ((1030.0, 16), (1085.5, 14), (1093.0, 7), (1099.5, 5), (1100.0, 16)):
        decision = decide(seen(deployed, None, order, now_s=now_s), decision, dependents)
        assert ttl(decision) == expected


def test_a_name_without_a_range_has_its_ttl_whatever_happens() -> None:
    deployed = wanted(WWW)
    dependents = Dependents.of(deployed)
    first = targets_of("us-east")[0]
    before = decide(seen(deployed), None, dependents)
    after = decide(seen(deployed, {first: SHAKY}), before, dependents)
    assert ttl(before, WWW) == ttl(after, WWW) == WWW.ttl_s
    assert after.touched == ()
    assert {region.flip_s for region in after.plan.pools[POOL.name].regions.values()} == {None}
    assert not dependents.pace.moved(first, UP, SHAKY)


def test_a_failure_touches_what_its_ttl_hangs_on_and_nothing_else() -> None:
    deployed = wanted()
    dependents = Dependents.of(deployed)
    first = targets_of("us-east")[0]
    before = decide(seen(deployed), None, dependents)
    shaken = decide(seen(deployed, {first: SHAKY}), before, dependents)
    assert shaken.touched == (POOL.name,)
    for name, region in shaken.plan.pools[POOL.name].regions.items():
        assert (region is before.plan.pools[POOL.name].regions[name]) == (name != "us-east")
    assert dependents.pace.moved(first, UP, SHAKY)
    assert not dependents.pace.moved(first, UP, replace(UP, since_s=5.0, history=0b101))
    assert not dependents.pace.moved(first, DOWN, replace(DOWN, failures=10))
    assert decide(seen(deployed, {first: replace(SHAKY, since_s=5.0)}), shaken, dependents).touched == ()
    far = Dependents.of(replace(deployed, checks={"web": replace(CHECK, cadence=Cadence(interval_s=600.0))}))
    assert not far.pace.moved(first, UP, SHAKY)  # both are beyond the longest TTL


def test_asking_what_if_has_the_same_ttl() -> None:
    now = seen(wanted(), {targets_of("us-east")[1]: SHAKY})
    decision = decide(now)
    assert plan_pool(POOL, now, (), None) == decision.plan.pools[POOL.name]


# Properties. Pools share parts, names share pools, and a check is composed of others.

TWIN = replace(POOL, name="example.com/twin")
MIXED = replace(POOL, name="example.com/mixed", check="both")
BOTH = Check(
    name="both",
    probe=Composed(term=AtLeast(count=1, of=(Member(check="web"), Member(check="slow")))),
)
SLOW = Check(name="slow", probe=TcpProbe(port=81), cadence=Cadence(interval_s=15.0, fall=2, rise=2))
EVERYONE = Policy(rules=(Rule(order=Order(regions=ORDER)),))
NAMES = (
    replace(RANGED, policy=EVERYONE),
    replace(RANGED, owner="plain.example.com.", ttl_min_s=None),
    replace(RANGED, owner="mixed.example.com.", pool=MIXED.name, ttl_s=25, ttl_min_s=20),
)
WORLD = replace(deployment(*NAMES, pools=(POOL, TWIN, MIXED)), checks={"web": PACED_CHECK, "slow": SLOW, "both": BOTH})
PROBED = [target for member in ("web", "slow") for target in (replace(t, check=member) for t in targets_of("us-east"))]
judgements = st.one_of(
    st.builds(
        lambda health, streak: Judgement(
            health=health, streak=streak, failures=streak if health is Health.UP else 9 * (health is Health.DOWN)
        ),
        st.sampled_from((Health.UP, Health.DOWN, Health.DEGRADED, Health.UNKNOWN)),
        st.integers(0, 2),
    ),
    st.builds(
        lambda own, other, streak: Judgement(
            health=Health.UP, streak=streak, votes=(Vote(vantage="test", health=own), Vote(vantage="b", health=other))
        ),
        st.sampled_from((Health.UP, Health.DOWN)),
        st.just(Health.UP),
        st.integers(0, 2),
    ),
)
ORDERS = st.lists(
    st.builds(
        drain,
        st.sampled_from(["region/us-east", "instance/us-east/192.0.2.11", f"pool/{POOL.name}", f"pool/{TWIN.name}"]),
        st.sampled_from([None, 1020.0, 1047.5, 5000.0]),
    ),
    max_size=2,
    unique_by=lambda order: order.subject,  # a subject has one order
).map(tuple)
STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(PROBED), judgements, max_size=3),
        st.none() | ORDERS,  # None: as before
        st.sampled_from((0.0, 0.3, 9.0, -4.0)),
    ),
    min_size=1,
    max_size=6,
)


def composed(judged: dict[Target, Judgement]) -> dict[Target, Judgement]:
    """With the judgements of the composed targets, which do not tell of counts."""
    found = dict(judged)
    for target in MIXED.targets():
        healths = [found.get(replace(target, check=name), UP).health for name in ("web", "slow")]
        serves = Health.UP if Health.UP in healths else Health.DOWN
        found[target] = Judgement(health=serves)
    return found


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_was_decided_before_equal_snapshots_give_equal_plans_and_answers(
    steps: list[tuple[dict[Target, Judgement], tuple[Override, ...] | None, float]],
) -> None:
    dependents = Dependents.of(WORLD)
    lay = layout(WORLD, (at("New York"), at("London")))
    judged = dict.fromkeys([*PROBED, *WORLD.targets()], UP)
    decision, sets, now_s = None, None, 1000.0
    overrides: tuple[Override, ...] = ()
    for changes, ordered, later_s in steps:
        judged = judged | changes
        overrides = overrides if ordered is None else ordered
        now_s += later_s
        now = replace(seen(WORLD, now_s=now_s), judgements=composed(judged), overrides=overrides)
        decision = decide(now, decision, dependents)
        scratch = decide(now)
        for name, pool in decision.plan.pools.items():
            assert pool._replace(last_good=None) == scratch.plan.pools[name]._replace(last_good=None)
        sets = compile_sets(decision.plan, lay, sets, decision.touched)
        assert sets == compile_sets(scratch.plan, lay)
        within_their_ranges(sets, lay)


def within_their_ranges(sets: tuple[SteeredSet, ...], lay: Layout) -> None:
    """The TTLs in the records themselves."""
    for (shape, _), one in zip(lay.shapes, sets, strict=True):
        least_s = shape.ttl_s if shape.ttl_min_s is None else shape.ttl_min_s
        for records in (slot for ring in one.rings for slot in ring):
            assert least_s <= int.from_bytes(records[6:10], "big") <= shape.ttl_s


@given(
    st.dictionaries(st.sampled_from(PROBED[:3]), judgements),
    st.sampled_from(targets_of("us-east")),
    st.integers(0, 2),
)
def test_more_failures_in_a_row_never_lengthen_the_ttl(
    others: dict[Target, Judgement], target: Target, failures: int
) -> None:
    def after(count: int) -> int:
        return ttl(decide(seen(wanted(), others | {target: Judgement(health=Health.UP, streak=count, failures=count)})))

    assert after(failures + 1) <= after(failures)
    assert after(failures) == after(failures)


def test_the_regions_of_the_world_are_those_of_the_order() -> None:
    assert set(REGIONS) == set(ORDER)


@pytest.mark.parametrize(
    ("judged", "expected_s", "reason"),
    [
        ({}, 16, "in 5..60: an instance in us-east may change in 16 s"),
        ({"us-east": SHAKY}, 6, "in 5..60: an instance in us-east may change in 6 s"),
        ({"us-east": DOWN, "eu-west": SHAKY}, 6, "in 5..60: an instance in eu-west may change in 6 s"),
        ({"us-east": LAST}, 5, "the least of 5..60: an instance in us-east may change in 2 s"),
        (dict.fromkeys(ORDER, DOWN), 5, "the least of 5..60: nothing is available"),
    ],
)
def test_an_explanation_says_why_the_ttl_is_what_it_is(
    judged: dict[str, Judgement], expected_s: int, reason: str
) -> None:
    judgements = {target: one for region, one in judged.items() for target in targets_of(region)}
    name = replace(RANGED, policy=EVERYONE)
    pool = decide(seen(wanted(name), judgements)).plan.pools[POOL.name]
    told = explain(name, pool, at("London"), REGIONS, RType.A)
    assert (told.ttl_s, told.ttl_reason) == (expected_s, reason)
    records = make_ring(name, pool, told.order, RType.A)
    assert {int.from_bytes(record[6:10], "big") for record in records} == {expected_s}


def test_an_explanation_of_what_cannot_change_and_of_what_has_one_ttl() -> None:
    unchecked = replace(wanted(), pools={POOL.name: replace(POOL, check=None)})
    pool = decide(seen(unchecked)).plan.pools[POOL.name]
    told = explain(RANGED, pool, at("London"), REGIONS, RType.A)
    assert (told.ttl_s, told.ttl_reason) == (60, "the most of 5..60: nothing that it hangs on may change sooner")
    told = explain(WWW, pool, at("London"), REGIONS, RType.A)
    assert (told.ttl_s, told.ttl_reason) == (WWW.ttl_s, None)
