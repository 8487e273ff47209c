"""The balancers end to end with real connections, in each way that a backend may get its packets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gtm.decide.balance import Verdict
from tests.lab.balance import BACKENDS, GRE, GUE, IP6, IPIP, L2, SECOND, SECOND6, VIPS, How, rack
from tests.lab.clients import load

WAYS = {"l2": L2, "ipip": IPIP, "ip6": IP6, "gre": GRE, "gue": GUE, "second-chance": SECOND, "second-chance6": SECOND6}
BY_TC = {f"{name}-tc": replace(way, tc=True) for name, way in WAYS.items() if name != "l2"}


@pytest.mark.parametrize(
    ("way", "mode"),
    [*((way, "native") for way in (*WAYS, *BY_TC)), *((way, "generic") for way in ("l2", "ipip", "gue"))],
)
def test_every_backend_serves_both_families(built: Path, way: str, mode: str) -> None:
    with rack(built, (WAYS | BY_TC)[way], mode=mode) as made, load(made.client, VIPS) as clients:
        clients.start(kept=24, large=6, anew=4, datagrams=24)
        clients.go_on(count=54)
        served = Counter(flow.backend for flow in (*clients.of("kept", "udp"), *clients.fresh(60)))
        assert clients.broken() == []
        assert set(served) == set(BACKENDS)
        assert all(flow.backends.keys() == {flow.backend} for flow in clients.of("udp"))
        for balancer in made.balancers.values():
            assert balancer.counters["verdict"]["packets"][:, Verdict.TX_FORWARD].sum() > 0
        assert made.verdicts(Verdict.TX_TOO_BIG) == 0


def test_the_ways_are_mixed_within_a_vip(built: Path) -> None:
    with rack(built, {"b1": L2, "b2": IP6, "b3": SECOND}) as made, load(made.client, VIPS) as clients:
        clients.start(kept=24, uploads=6, datagrams=24)
        clients.go_on(count=54)
        assert clients.broken() == []
        assert {flow.backend for flow in clients.of("kept", "udp")} == set(BACKENDS)


@pytest.mark.parametrize("how", [IPIP, IP6, GUE, BY_TC["ip6-tc"]], ids=["ipip", "ip6", "gue", "ip6-tc"])
def test_uploads_get_through_where_the_outer_header_does_not_fit(built: Path, how: How) -> None:
    """The client learns of the smaller way from the balancer alone: no MTU or MSS is configured anywhere."""
    with rack(built, how, mtu_bytes=1500) as made, load(made.client, VIPS) as clients:
        clients.start(uploads=12)
        clients.go_on(2, count=12)
        assert clients.broken() == []
        assert made.verdicts(Verdict.TX_TOO_BIG) > 0
