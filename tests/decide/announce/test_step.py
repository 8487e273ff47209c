"""Steps: what becomes of an announcement as checks, orders, the plan and others change, told as little stories."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.announce.memory import Memory
from gtm.decide.announce.phase import TABLE
from gtm.decide.announce.rpki import Validity
from gtm.decide.announce.sight import Permit, Sight
from gtm.decide.announce.step import step
from gtm.decide.announce.wish import Wish
from gtm.decide.health import fold
from gtm.model.anycast import Allowed, Anycast, ExitPolicy, Guard, Lease, Phase, RpkiMode, Service, WithoutStore
from gtm.model.check import AtLeast, Check, Composed, FileProbe, Member, PushProbe
from gtm.model.health import Health, Judgement, Result
from tests.decide.announce.scenes import CHECK, DRAIN, LADDER, TARGET, anycast, judged, other, service, speaker

B1 = other("b1")


@dataclass
class Story:
    """One speaker and what it sees, changed as the story goes."""

    of: Anycast = field(default_factory=anycast)
    check: Check = CHECK
    memory: Memory = field(default_factory=Memory.initial)
    sight: Sight = field(default_factory=lambda: Sight(now_s=0.0, others=(B1,), store=True))
    judgement: Judgement = field(default_factory=Judgement)
    wish: Wish | None = None
    wish_leaving: bool = False

    @property
    def service(self) -> Service:
        return next(iter(self.of.services.values()))

    def see(self, **changes: object) -> Wish:
        """The wish after the sight has changed; a second look at the same moment must change nothing."""
        self.sight = replace(self.sight, **changes)  # type: ignore[arg-type]  # each test names what it changes
        self.memory, wish = step(self.of, speaker(), self.service, self.memory, self.sight)
        sight = self.sight  # in which `told` is about the last wish, and so no longer about this one if it changed
        sight = sight if wish.leaving is self.wish_leaving else replace(sight, told=False)
        self.wish_leaving = wish.leaving
        again, same = step(self.of, speaker(), self.service, self.memory, sight)
        assert again == self.memory
        assert replace(same, passed=wish.passed) == wish
        assert Memory.from_dict(self.memory.to_dict()) == self.memory
        self.wish = wish
        return wish

    def results(self, marks: str) -> list[Phase]:
        """The phases after each result, one a second: "+" is a good one, "-" a bad one."""
        phases = []
        for mark in marks:
            now_s = self.sight.now_s + 1.0
            result = Result(at_s=now_s, ok=mark == "+", took_s=0.001, detail="" if mark == "+" else "refused")
            self.judgement = fold(self.judgement, result, self.check.cadence)
            phases.append(self.see(now_s=now_s, local={TARGET: self.judgement}).phase)
        return phases


def up(**values: object) -> Story:
    story = Story(**values)  # type: ignore[arg-type]  # as above
    assert story.results("+++")[-1] is Phase.UP
    return story


I, R, U, F, D, H = Phase.INIT, Phase.RISING, Phase.UP, Phase.FALLING, Phase.DOWN, Phase.HELD


@pytest.mark.parametrize(
    ("results", "phases"),
    [
        ("+++", [R, R, U]),
        ("+-+++", [R, R, R, R, U]),
        ("---+++", [D, D, D, R, R, U]),
        ("+++--+", [R, R, U, F, F, U]),
        ("+++---", [R, R, U, F, F, D]),
        ("+++---++-+++", [R, R, U, F, F, D, R, R, D, R, R, U]),
    ],
)
def test_rise_and_fall(results: str, phases: list[Phase]) -> None:
    story = Story()
    story.see(permit=Permit.HELD)
    assert story.memory.phase is I
    assert story.results(results) == phases


def test_falling_announces_and_rising_does_not() -> None:
    story = Story()
    assert [story.see().announce, *(story.results(mark) and story.wish.announce for mark in "+++")] == [  # type: ignore[union-attr]
        False, False, False, True,
    ]  # fmt: skip
    story.results("-")
    assert story.wish is not None
    assert story.wish.announce
    assert (story.wish.leaving, story.wish.wants_permit) == (True, True)  # asked for before it is needed


def test_with_the_permit_down_is_immediate_and_every_step_on_the_way_is_shown() -> None:
    story = up()
    story.results("--")
    story.see(permit=Permit.HELD)
    story.results("-")
    assert story.wish is not None
    assert (story.wish.phase, story.wish.announce, story.wish.passed) == (D, False, (D,))
    assert story.wish.reason == "web@192.0.2.1 DOWN: refused"
    assert story.wish.address  # the check itself may need it


def test_down_at_once_still_goes_through_falling() -> None:
    story = up()
    bad = judged("+---")
    assert story.see(local={TARGET: bad}, permit=Permit.HELD).passed == (F, D)


def test_the_last_pop_is_held_with_the_reason_and_goes_when_another_is_there() -> None:
    story = up()
    story.see(others=())
    assert story.results("---")[-1] is H
    wish = story.wish
    assert wish is not None
    assert wish.announce
    assert wish.reason == "web@192.0.2.1 DOWN: refused; the last PoP that announces"
    assert (wish.wants_permit, wish.on_expiry) == (False, ExitPolicy.KEEP)
    wish = story.see(others=(B1,))
    assert (wish.phase, wish.wants_permit) == (H, True)
    assert "until the permit to leave is there" in wish.reason
    assert story.see(permit=Permit.REFUSED, permit_reason="c1 is leaving").reason.endswith("c1 is leaving")
    assert story.see(permit=Permit.HELD).phase is D


def test_held_gets_well() -> None:
    story = up()
    story.see(others=())
    story.results("---")
    assert story.results("++-+++") == [H, H, H, H, H, U]


def test_who_left_comes_back_when_nobody_announces() -> None:
    story = up()
    story.see(permit=Permit.HELD)
    story.results("---")
    wish = story.see(others=(other("b1", announcing=False),))
    assert (wish.phase, wish.announce, wish.passed) == (H, True, (H,))
    assert "nobody else announces" in story.see(others=()).reason or story.memory.phase is H
    assert story.see(others=(B1,)).phase is D


def test_who_never_announced_does_not_come_back() -> None:
    story = Story()
    story.see(others=())
    assert story.results("---") == [D, D, D]


def test_nobody_comes_back_while_the_store_is_away() -> None:
    story = up()
    story.see(permit=Permit.HELD)
    story.results("---")
    for store in (False, None):
        assert story.see(store=store, others=()).phase is D


@pytest.mark.parametrize("store", [None, False])
def test_without_the_store_it_is_held_or_as_if_alone(store: bool | None) -> None:
    story = up()
    story.see(store=store, permit=Permit.HELD)
    assert story.results("---")[-1] is H
    alone = up(of=anycast(guard=Guard(without_store=WithoutStore.WITHDRAW)))
    alone.see(store=store, others=())
    assert alone.results("---")[-1] is D


def test_an_instance_leaves_when_the_others_of_its_region_know() -> None:
    story = up()
    story.see(others=(other("a2"),))
    assert story.results("---")[-1] is F
    assert story.wish is not None
    assert (story.wish.leaving, story.wish.wants_permit) == (True, False)
    assert story.see(told=True).phase is D


# ---------------------------------------------------------------------------------------------------------- the region


def test_the_plan_takes_a_region_down_and_brings_it_back() -> None:
    of = anycast(of=service(pool="example.com/web"))
    story = Story(of=of, sight=Sight(now_s=0.0, others=(B1,), store=True, permit=Permit.HELD, controller_age_s=1.0))
    story.results("+++")
    assert story.see(region_up=True).phase is U
    wish = story.see(region_up=False)
    assert (wish.phase, wish.passed) == (D, (F, D))
    assert wish.reason == "the plan has region a of example.com/web down"
    assert story.see(region_up=None).passed == (R, U)  # not known is not down


def test_what_depends_on_the_plan_alone_waits_for_its_word() -> None:
    story = Story(of=anycast(of=service(local={}, pool="example.com/web")))
    assert story.see().phase is I
    assert story.see(region_up=True).phase is U
    assert story.see(region_up=None).phase is U


def test_what_depends_on_nothing_is_announced() -> None:
    assert Story(of=anycast(of=service(local={}))).see().passed == (R, U)


@pytest.mark.parametrize(("policy", "age_s"), [(ExitPolicy.WITHDRAW, 60.0), (ExitPolicy.HAND_OVER, 120.0)])
def test_a_silent_controller_ends_the_lease(policy: ExitPolicy, age_s: float) -> None:
    story = up(of=anycast(lease=Lease(exit=policy)))
    wish = story.see(controller_age_s=10.0, permit=Permit.HELD)
    assert wish.phase is U
    assert wish.wake_s == pytest.approx(story.sight.now_s + age_s - 10.0, abs=0.01)
    assert story.see(controller_age_s=age_s).phase is U
    wish = story.see(controller_age_s=age_s + 0.1)
    assert (wish.phase, wish.reason) == (D, f"no word of the controller for {age_s:g} s")
    assert story.see(controller_age_s=1.0).phase is U


def test_a_kept_lease_does_not_end() -> None:
    story = up(of=anycast(lease=Lease(exit=ExitPolicy.KEEP)))
    wish = story.see(controller_age_s=1e9, permit=Permit.HELD)
    assert (wish.phase, wish.wake_s) == (U, None)


# --------------------------------------------------------------------------------------------------------------- orders


def test_disabled_goes_past_the_guard_and_returns() -> None:
    story = up()
    wish = story.see(disabled="disks")
    assert (wish.phase, wish.announce, wish.wants_permit) == (F, True, True)
    assert story.see(permit=Permit.HELD).phase is Phase.DISABLED
    assert story.memory.reason == "disabled: disks"
    assert story.see(drain=DRAIN).phase is Phase.DISABLED
    assert story.see(disabled=None).phase is Phase.DRAINING
    assert story.see(drain=None).phase is U


def test_disabled_at_the_start_never_announces() -> None:
    story = Story()
    assert story.see(disabled="disks").phase is Phase.DISABLED
    assert story.results("++++")[-1] is Phase.DISABLED
    assert story.see(disabled=None).passed == (R, U)


def test_disabling_the_last_pop_is_held() -> None:
    story = up()
    wish = story.see(disabled="disks", others=())
    assert (wish.phase, wish.reason) == (H, "disabled: disks; the last PoP that announces")
    assert story.see(disabled=None).phase is U


def test_a_drained_pop_that_must_disable_asks_and_does_not_hang() -> None:
    story = up()
    assert story.see(drain=DRAIN).phase is Phase.DRAINING
    wish = story.see(disabled="disks")
    assert (wish.phase, wish.wants_permit) == (Phase.DRAINING, True)
    assert story.see(permit=Permit.HELD).phase is Phase.DISABLED


def test_announced_in_down_and_disabled_too_where_it_is_wanted_so() -> None:
    """As ExaBGP's healthcheck without --withdraw-on-down: another metric and no withdrawal, so no guard."""
    story = up(of=anycast(of=service(withdraw_on_down=False)))
    story.see(others=(), store=False)
    assert story.results("---") == [F, F, D]
    assert story.wish is not None
    assert (story.wish.announce, story.wish.look, story.wish.leaving) == (True, D, False)
    assert story.results("++") == [R, R]
    assert (story.wish.announce, story.wish.look) == (True, D)  # as it was, until it is proved
    assert story.results("+") == [U]
    assert story.wish.look is U
    wish = story.see(disabled="disks")
    assert (wish.phase, wish.announce, wish.look) == (Phase.DISABLED, True, Phase.DISABLED)
    assert story.see(disabled=None).passed == (R, U)


def test_a_setting_that_changes_while_it_is_down_and_announced() -> None:
    story = up(of=anycast(of=service(withdraw_on_down=False)))
    story.results("---")
    story.of = anycast(of=service(withdraw_on_down=True))
    wish = story.see()
    assert (wish.announce, wish.leaving, wish.wants_permit) == (True, True, True)
    wish = story.see(permit=Permit.HELD)
    assert (wish.phase, wish.announce) == (D, False)


# -------------------------------------------------------------------------------------------------- before it begins


def test_what_rpki_refuses_is_not_begun_and_not_ended() -> None:
    of = anycast(guard=Guard(rpki=RpkiMode.REFUSE))
    story = Story(of=of)
    invalid = {ip_network("203.0.113.0/24"): Validity.INVALID}
    story.see(rpki=invalid)
    assert story.results("++++") == [R, R, R, R]
    assert story.memory.reason == "RPKI calls 203.0.113.0/24 invalid"
    assert story.see(rpki={}).phase is U
    wish = story.see(rpki=invalid)
    assert (wish.phase, wish.warnings) == (U, ("RPKI calls 203.0.113.0/24 invalid",))


def test_what_is_not_allowed_is_not_begun_nor_brought_back() -> None:
    allowed = (Allowed(prefix=ip_network("192.0.2.0/24"), length_max=24),)
    story = Story(of=anycast(guard=Guard(allowed=allowed)))
    assert story.results("+++")[-1] is R
    assert story.memory.reason == "203.0.113.0/24 is not allowed by the guard"
    story.memory = replace(story.memory, announced=True)
    story.see(others=())
    assert story.results("---")[-1] is D


def test_a_restart_goes_on_as_it_was() -> None:
    story = up()
    story.judgement = Judgement()
    assert story.see(local={}).phase is U  # not judged yet
    assert story.results("-") == [F]  # the first result of an unknown target is a verdict, and one probe is no reason
    assert story.results("+") == [F]  # it is good again when `rise` say so
    assert story.results("++") == [F, U]


def test_what_fails_after_a_restart_falls_after_as_many_as_ever() -> None:
    story = up()
    story.judgement = Judgement()
    story.see(permit=Permit.HELD)
    assert story.results("---") == [F, F, D]


@pytest.mark.parametrize(
    "probe", [PushProbe(), Composed(term=AtLeast(count=1, of=(Member(check="x"),)))], ids=["pushed", "composed"]
)
def test_what_is_weighed_elsewhere_counts_at_once(probe: PushProbe | Composed) -> None:
    check = Check(name="web", probe=probe, cadence=CHECK.cadence)
    story = Story(of=anycast(of=service(local={TARGET: check})), check=check)
    assert story.see(local={TARGET: Judgement(health=Health.UP)}).phase is U
    wish = story.see(local={TARGET: Judgement(health=Health.DOWN, failures=1)}, permit=Permit.HELD)
    assert wish.phase is D


def test_degraded_is_good_enough_and_stale_stands() -> None:
    story = up()
    assert story.see(local={TARGET: Judgement(health=Health.DEGRADED, stale=True)}).phase is U


def test_the_worst_of_several_checks_decides() -> None:
    second = replace(TARGET, check="dns")
    of = anycast(of=service(local={TARGET: CHECK, second: Check(name="dns", probe=FileProbe(path="/x"))}))
    story = Story(of=of)
    good = judged("+++")
    assert story.see(local={TARGET: good}).phase is I
    assert story.see(local={TARGET: good, second: good}).phase is U
    wish = story.see(local={TARGET: good, second: judged("+++---")}, permit=Permit.HELD)
    assert (wish.phase, wish.reason) == (D, "dns@192.0.2.1 DOWN: refused")


# --------------------------------------------------------------------------------------------- any order of events

OTHERS = st.lists(
    st.builds(
        other,
        st.sampled_from(["a2", "a3", "b1", "c1"]),
        announcing=st.booleans(),
        fresh=st.booleans(),
        leaving=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each.node,
).map(tuple)
SIGHTS = st.fixed_dictionaries(
    {
        "passes_s": st.sampled_from([0.0, 0.5, 5.0, 40.0, 400.0]),
        "results": st.sampled_from(["", "+", "-", "+++", "---", "-+"]),
        "region_up": st.sampled_from([None, True, False]),
        "controller_age_s": st.sampled_from([None, 1.0, 100.0]),
        "drain": st.sampled_from([None, None, DRAIN]),
        "disabled": st.sampled_from([None, None, None, "disks"]),
        "connections": st.sampled_from([None, 0, 50]),
        "others": OTHERS,
        "store": st.sampled_from([True, True, True, False, None]),
        "told": st.booleans(),
        "permit": st.sampled_from(Permit),
        "rpki": st.sampled_from([{}, {ip_network("203.0.113.0/24"): Validity.INVALID}]),
        "restart": st.sampled_from([False, False, False, True]),
        "ladder": st.sampled_from([LADDER, LADDER, LADDER, LADDER[:2], LADDER[4:], ()]),
        "withdraw_on_down": st.sampled_from([True, True, True, False]),
    }
)


@settings(max_examples=400, deadline=None)
@given(st.lists(SIGHTS, max_size=30))
def test_any_order_of_events_keeps_the_table_and_the_guard(events: list[dict]) -> None:
    """Whatever comes, also a changed deployment and a restart, is in the table; and the route goes only if it may."""
    story = Story()
    for event in events:
        now_s = story.sight.now_s + event.pop("passes_s")
        if event.pop("restart"):
            story.judgement = Judgement()
        for index, mark in enumerate(event.pop("results")):
            result = Result(at_s=now_s + index / 1000, ok=mark == "+", took_s=0.0, detail="")
            story.judgement = fold(story.judgement, result, CHECK.cadence)
        of = service(pool="example.com/web", withdraw_on_down=event.pop("withdraw_on_down"))
        story.of = anycast(ladder=event.pop("ladder"), of=of, guard=Guard(rpki=RpkiMode.REFUSE))
        before = story.memory
        wish = story.see(now_s=now_s, local={TARGET: story.judgement}, **event)
        phase = before.phase
        for after in wish.passed:
            assert after in TABLE[phase]
            phase = after
        assert wish.phase is phase is story.memory.phase
        assert wish.announce is story.memory.announcing
        assert_consistent(story, before, wish)


MEMORIES = st.builds(
    Memory,
    phase=st.sampled_from(Phase),
    announcing=st.booleans(),
    announced=st.booleans(),
    look=st.sampled_from([Phase.UP, Phase.DOWN, Phase.DISABLED]),
    proved=st.booleans(),
    good=st.booleans(),
    rung=st.integers(-1, 9),
    penalty=st.sampled_from([0.0, 500.0, 5000.0]),
    suppressed=st.booleans(),
    left_s=st.none() | st.just(0.0),
    leaving=st.booleans(),
)


@settings(max_examples=500, deadline=None)
@given(MEMORIES, SIGHTS)
def test_any_memory_has_an_outcome_and_is_guarded(memory: Memory, event: dict) -> None:
    """Also one that no step would have left: of another deployment, or mended where routes stood at a start."""
    story = Story(memory=memory, wish_leaving=memory.leaving)
    results = event.pop("results")
    story.judgement = judged(results)
    del event["restart"]
    of = service(pool="example.com/web", withdraw_on_down=event.pop("withdraw_on_down"))
    story.of = anycast(ladder=event.pop("ladder"), of=of, guard=Guard(rpki=RpkiMode.REFUSE))
    wish = story.see(now_s=event.pop("passes_s"), local={TARGET: story.judgement}, **event)
    assert_consistent(story, memory, wish)


def test_a_route_that_stood_before_anything_was_remembered() -> None:
    story = Story(memory=replace(Memory.initial(), announcing=True, announced=True))
    wish = story.see(others=())
    assert (wish.phase, wish.announce, wish.look) == (R, True, U)
    assert story.results("---") == [F, F, H]
    story = Story(memory=replace(Memory.initial(), announcing=True, announced=True))
    assert story.results("+++") == [R, R, U]


def assert_consistent(story: Story, before: Memory, wish: Wish) -> None:
    sight = story.sight
    elsewhere = [each for each in sight.others if each.fresh and each.announcing]
    if before.announcing and not wish.announce:  # withdrawn: by the store's word, and never as the last
        assert sight.store is True
        assert elsewhere
        mates = [each for each in elsewhere if each.region == "a" and not each.leaving]
        remote = [each for each in elsewhere if each.region != "a"]
        assert (mates and sight.told and before.leaving) or (remote and sight.permit is Permit.HELD)
    if not before.announcing and wish.announce and sight.rpki:
        assert not wish.announce or before.announcing, "begun although RPKI refuses"
    match wish.phase:
        case Phase.UP | Phase.FALLING | Phase.HELD:
            assert wish.announce
        case Phase.INIT | Phase.DRAINED:
            assert not wish.announce
    assert wish.address or not wish.announce
    assert not (wish.wants_permit and not wish.leaving)
    assert not (wish.returns_permit and (wish.leaving or not wish.announce))
    assert wish.wake_s is None or wish.wake_s > sight.now_s
    assert (wish.rung is None) == (wish.rungs == ())
    if sight.store is True and not elsewhere and before.announced and not sight.rpki and not before.announcing:
        assert wish.announce or wish.phase is Phase.RISING or wish.phase is Phase.INIT
