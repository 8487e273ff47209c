"""Composed checks against truth tables, and their laws over any term."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.compose import compose, composed_in_order, value
from gtm.model.check import AtLeast, Check, Composed, Member, Not, Target, TcpProbe, Term
from gtm.model.health import Health, Judgement

UP, DOWN, DEGRADED, UNKNOWN = Health.UP, Health.DOWN, Health.DEGRADED, Health.UNKNOWN
STATES = (DOWN, UNKNOWN, DEGRADED, UP)
NAMES = ("a", "b", "c")
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
TARGET = Target(check="whole", address=HERE)
A, B, C = (Member(check=name) for name in NAMES)


def judged(*states: Health) -> dict[Target, Judgement]:
    return {
        Target(check=name, address=HERE): Judgement(health=state) for name, state in zip(NAMES, states, strict=False)
    }


def both(*terms: Term) -> AtLeast:
    return AtLeast(count=len(terms), of=terms)


def either(*terms: Term) -> AtLeast:
    return AtLeast(count=1, of=terms)


def test_and_is_the_least_and_or_the_greatest() -> None:
    for one, other in product(STATES, repeat=2):
        known = judged(one, other)
        least, greatest = sorted((one, other), key=STATES.index)
        assert value(both(A, B), TARGET, known) is least
        assert value(either(A, B), TARGET, known) is greatest


def test_at_least_two_of_three() -> None:
    for states in product((UP, DOWN), repeat=3):
        expected = UP if states.count(UP) >= 2 else DOWN
        assert value(AtLeast(count=2, of=(A, B, C)), TARGET, judged(*states)) is expected
    assert value(AtLeast(count=2, of=(A, B, C)), TARGET, judged(UP, UNKNOWN, DOWN)) is UNKNOWN
    assert value(AtLeast(count=2, of=(A, B, C)), TARGET, judged(UP, UNKNOWN, DEGRADED)) is DEGRADED


def test_not() -> None:
    found = [value(Not(of=A), TARGET, judged(state)) for state in STATES]
    assert found == [UP, UNKNOWN, DOWN, DOWN]


def test_what_was_not_judged_is_unknown() -> None:
    assert value(A, TARGET, {}) is UNKNOWN
    assert value(either(A, B), TARGET, judged(UP)) is UP
    assert value(both(A, B), TARGET, judged(DOWN)) is DOWN


def test_a_member_may_be_elsewhere() -> None:
    known = {Target(check="a", address=THERE): Judgement(health=DOWN)} | judged(UP)
    assert value(Member(check="a", address=THERE), TARGET, known) is DOWN


terms: st.SearchStrategy[Term] = st.recursive(
    st.sampled_from((A, B, C)),
    lambda inner: st.one_of(
        inner.map(lambda term: Not(of=term)),
        st.lists(inner, min_size=1, max_size=4).flatmap(
            lambda some: st.integers(1, len(some)).map(lambda count: AtLeast(count=count, of=tuple(some)))
        ),
    ),
    max_leaves=8,
)
states3 = st.tuples(*[st.sampled_from((UP, DOWN))] * 3)


@given(terms, states3, st.sampled_from(NAMES))
def test_what_holds_whatever_an_unknown_one_may_be_is_known(term: Term, states: tuple[Health, ...], name: str) -> None:
    """Kleene: an UNKNOWN member may leave the whole UNKNOWN, but never gives what no value of it could give."""
    known = judged(*states)
    hidden = Target(check=name, address=HERE)
    possible = {value(term, TARGET, known | {hidden: Judgement(health=state)}) for state in (UP, DOWN)}
    found = value(term, TARGET, known | {hidden: Judgement(health=UNKNOWN)})
    assert found is UNKNOWN or possible == {found}


def check(name: str, term: Term | None = None) -> Check:
    return Check(name=name, probe=TcpProbe(port=1) if term is None else Composed(term=term))


def test_composed_of_composed_and_what_did_not_change_is_the_same_object() -> None:
    checks = {
        Target(check="outer", address=HERE): check("outer", Not(of=Member(check="inner"))),
        Target(check="inner", address=HERE): check("inner", both(A, B)),
        Target(check="a", address=HERE): check("a"),
        Target(check="b", address=HERE): check("b"),
    }
    ordered = composed_in_order(checks)
    assert [target.check for target, _ in ordered] == ["inner", "outer"]
    first = dict(compose(ordered, judged(UP, DOWN), {}, 5.0))
    assert {target.check: (one.health, one.since_s) for target, one in first.items()} == {
        "inner": (DOWN, 5.0), "outer": (UP, 5.0),
    }  # fmt: skip
    again = dict(compose(ordered, judged(DEGRADED, DOWN), first, 9.0))
    assert all(again[target] is first[target] for target in first)
    stale = judged(UP, UP) | {Target(check="a", address=HERE): Judgement(health=UP, stale=True)}
    third = dict(compose(ordered, stale, first, 9.0))
    assert {(one.health, one.since_s, one.stale) for one in third.values()} == {(UP, 9.0, True), (DOWN, 9.0, True)}
