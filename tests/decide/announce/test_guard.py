"""The guard: who may leave, what must stay, what may be announced at all."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from gtm.decide.announce.guard import Leave, alone, barred, may_leave, not_allowed, on_expiry, warnings
from gtm.decide.announce.rpki import Validity
from gtm.decide.announce.sight import OtherSpeaker, Permit, Sight
from gtm.model.anycast import Allowed, ExitPolicy, Guard, Lease, RpkiMode, WithoutStore
from tests.decide.announce.scenes import anycast, other, service, speaker

B1, B1_GONE = other("b1"), other("b1", announcing=False)
A2, A2_LEAVING, A2_LOST = other("a2"), other("a2", leaving=True), other("a2", fresh=False)


@pytest.mark.parametrize(
    ("others", "told", "permit", "leave", "reason", "asks"),
    [
        ((), False, Permit.NONE, Leave.HOLD, "the last PoP that announces", False),
        ((), True, Permit.HELD, Leave.HOLD, "the last PoP that announces", False),
        ((B1_GONE,), True, Permit.HELD, Leave.HOLD, "the last PoP that announces", False),
        ((other("b1", fresh=False),), True, Permit.HELD, Leave.HOLD, "the last PoP that announces", False),
        ((B1,), False, Permit.NONE, Leave.ASK, "until the permit to leave is there", True),
        ((B1,), True, Permit.NONE, Leave.ASK, "until the permit to leave is there", True),
        ((B1,), True, Permit.REFUSED, Leave.HOLD, "c1 is leaving", True),
        ((B1,), False, Permit.HELD, Leave.FREE, "permit held, b announces", True),
        # A PoP that is about to leave itself still counts: it needs the permit too.
        ((replace(B1, leaving=True),), True, Permit.HELD, Leave.FREE, "permit held, b announces", True),
        # Another instance of the region stays: no permit, but it must know.
        ((A2,), True, Permit.NONE, Leave.FREE, "a2 announces for a", False),
        ((A2,), False, Permit.NONE, Leave.ASK, "until a2 knows", False),
        ((A2, B1), True, Permit.REFUSED, Leave.FREE, "a2 announces for a", False),
        ((A2, B1), False, Permit.REFUSED, Leave.ASK, "until a2 knows", False),
        ((A2, B1), False, Permit.HELD, Leave.FREE, "permit held, b announces", True),
        # It is leaving as well, or not known to live: then it is as if alone in its region.
        ((A2_LEAVING,), True, Permit.NONE, Leave.HOLD, "the last PoP that announces", False),
        ((A2_LEAVING, B1), True, Permit.NONE, Leave.ASK, "until the permit to leave is there", True),
        ((A2_LOST, B1), True, Permit.NONE, Leave.ASK, "until the permit to leave is there", True),
        ((A2_LOST,), True, Permit.HELD, Leave.HOLD, "the last PoP that announces", False),
        # Its own record is no other's.
        ((other("a1"),), True, Permit.HELD, Leave.HOLD, "the last PoP that announces", False),
    ],
)
def test_who_may_leave(
    others: tuple[OtherSpeaker, ...], told: bool, permit: Permit, leave: Leave, reason: str, asks: bool
) -> None:
    sight = Sight(now_s=1.0, store=True, others=others, permit=permit, permit_reason="c1 is leaving")
    ruling = may_leave(anycast(), speaker(), sight, told=told)
    assert (ruling.leave, ruling.reason, ruling.permit) == (leave, reason, asks)


@pytest.mark.parametrize("store", [None, False])
def test_without_the_store_the_rule_decides(store: bool | None) -> None:
    """What was seen of others, or a permit, counts for nothing while it cannot be confirmed."""
    sight = Sight(now_s=1.0, store=store, others=(A2, B1), permit=Permit.HELD)
    assert may_leave(anycast(), speaker(), sight, told=True).leave is Leave.HOLD
    free = anycast(guard=Guard(without_store=WithoutStore.WITHDRAW))
    assert may_leave(free, speaker(), replace(sight, others=()), told=False).leave is Leave.FREE


def test_alone_is_only_what_the_store_says() -> None:
    assert alone(speaker(), Sight(now_s=1.0, store=True, others=(B1_GONE, A2_LOST)))
    assert not alone(speaker(), Sight(now_s=1.0, store=True, others=(B1_GONE, A2_LEAVING)))
    assert not alone(speaker(), Sight(now_s=1.0, store=False))
    assert not alone(speaker(), Sight(now_s=1.0, store=None))


def test_of_all_that_announce_one_stays_when_leases_end() -> None:
    """Seen by each of them alike, exactly one keeps its routes, whoever is left."""
    nodes = ["a1", "a2", "b1", "b2", "c1"]
    for left in range(1, 1 << len(nodes)):
        announcing = [node for index, node in enumerate(nodes) if left >> index & 1]
        kept = [
            node
            for node in announcing
            if on_expiry(
                anycast(),
                speaker(node, node[0]),
                service(),
                Sight(now_s=1.0, store=True, others=tuple(map(other, announcing))),
            )
            is ExitPolicy.KEEP
        ]
        assert kept == [max(announcing)]  # the last in the order of the service's regions a, b, c


@pytest.mark.parametrize("policy", ExitPolicy)
@pytest.mark.parametrize("store", [None, False, True])
@pytest.mark.parametrize("without", WithoutStore)
def test_what_a_lease_comes_to(policy: ExitPolicy, store: bool | None, without: WithoutStore) -> None:
    of = anycast(guard=Guard(without_store=without), lease=Lease(exit=policy))
    first = on_expiry(of, speaker("a1"), service(), Sight(now_s=1.0, store=store, others=(B1,)))
    last = on_expiry(of, speaker("a1"), service(), Sight(now_s=1.0, store=store))
    if store is True:
        assert (first, last) == (policy, ExitPolicy.KEEP)
    else:
        assert first is last is (policy if without is WithoutStore.WITHDRAW else ExitPolicy.KEEP)


ALLOWED = Guard(
    allowed=(
        Allowed(prefix=ip_network("203.0.112.0/22"), length_max=24),
        Allowed(prefix=ip_network("2001:db8::/32"), length_max=48),
    )
)


@pytest.mark.parametrize(
    ("prefix", "allowed"),
    [
        ("203.0.113.0/24", True),
        ("203.0.112.0/22", True),
        ("203.0.113.0/25", False),
        ("203.0.0.0/16", False),
        ("192.0.2.0/24", False),
        ("2001:db8:61::/48", True),
        ("2001:db8:61::/49", False),
        ("2001:db9::/48", False),
        ("0.0.0.0/0", False),
        ("::/0", False),
    ],
)
def test_the_allow_list(prefix: str, allowed: bool) -> None:
    assert (not_allowed(ALLOWED, ip_network(prefix)) is None) is allowed
    assert not_allowed(Guard(), ip_network(prefix)) is None
    assert not_allowed(Guard(allowed=()), ip_network(prefix)) is not None


@pytest.mark.parametrize("mode", RpkiMode)
@pytest.mark.parametrize("validity", [*Validity, None])
def test_rpki_bars_or_warns_as_it_is_told(mode: RpkiMode, validity: Validity | None) -> None:
    prefix = ip_network("203.0.113.0/24")
    sight = Sight(now_s=1.0, rpki={} if validity is None else {prefix: validity})
    of = anycast(guard=Guard(rpki=mode))
    invalid = validity is Validity.INVALID
    assert (barred(of, service(), sight) is not None) is (invalid and mode is RpkiMode.REFUSE)
    assert (warnings(of, service(), sight) != ()) is (invalid and mode is not RpkiMode.OFF)
