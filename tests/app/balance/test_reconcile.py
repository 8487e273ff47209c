"""Tables that the kernel would not take: the next attempt writes what the last one has not."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import ArrayLike

from gtm.app.balance.keys import Keys
from gtm.app.balance.plan import plan
from gtm.app.balance.protect import Protector
from gtm.app.balance.reconcile import Reconciler
from gtm.decide.balance import SLOT_BACKEND, SLOT_PREVIOUS_SHIFT, SLOT_TRANSITION
from gtm.decide.guard import Policy
from gtm.model.balance import Backend, Protection
from gtm.model.errors import PublishError
from gtm.model.override import Action, Override, Subject
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.inheritance import Inheritance
from gtm.publish.dataplane.jiffies import Jiffies
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.shadow import Shadow
from gtm.publish.dataplane.transition import Slots
from tests.app.balance.test_plan import HERE, WEB, dataplane, sight
from tests.dataplane.bpffs import mounted

KEYS = Keys.of(b"0123456789abcdef")
JIFFIES = Jiffies(count=1000, monotonic_s=0.0, rate_per_s=250)


class Crowded(Shadow):
    """Has no memory for a new ring while `full`."""

    full = False

    def set_ring(self, number: int, slots: ArrayLike, *, generation: int) -> None:
        if self.full:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        super().set_ring(number, slots, generation=generation)


def test_a_peers_change_is_kept_until_its_ring_is_written(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a bpffs")
    (tmp_path / "balancer").mkdir()
    with mounted(tmp_path / "bpf") as bpffs:
        balancer = Crowded(Pins(bpffs / "gtm"))
    reconciler = Reconciler(balancer, KEYS, JIFFIES, tmp_path, 0.0)
    planned = plan(dataplane(WEB), HERE, sight())
    reconciler.apply(planned, 1000.0)
    assert reconciler.rings["web"].moving == 0
    slots = np.arange(10)
    previous = np.full(10, reconciler.numbers["web/a1"], np.uint32)
    reconciler.inherit([Inheritance(service="web", slots=slots, previous=previous, left_s=30.0)])
    balancer.full = True
    with pytest.raises(OSError, match="memory"):
        reconciler.apply(planned, 1000.0)
    balancer.full = False
    reconciler.apply(planned, 1001.0)
    assert 0 < reconciler.rings["web"].moving <= 10


class Failing:
    """A guard that notes what it is given, and fails in the middle of it while `full`."""

    def __init__(self) -> None:
        self.full = False
        self.given: list[Policy] = []

    def set_policy(self, policy: Policy) -> None:
        self.given.append(policy)
        if self.full:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def test_a_policy_is_written_again_after_half_of_another() -> None:
    guard = Failing()
    protector = Protector(cast(Guard, guard), JIFFIES, KEYS)
    before = dataplane(WEB)
    after = replace(before, protection=Protection(deny=(ip_network("198.51.100.0/24"),)))
    assert protector.apply(before)
    assert not protector.apply(before)
    guard.full = True
    with pytest.raises(PublishError):
        protector.apply(after)
    guard.full = False
    assert protector.apply(before)  # which stood before, but some of it is overwritten
    assert guard.given[-1] == guard.given[0]


def test_where_a_drain_is_over_those_beside_it_keep_their_flows(tmp_path: Path) -> None:
    """Maglev moves some slots between backends that stay: no end of a drain ends the flows there."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a bpffs")
    (tmp_path / "balancer").mkdir()
    with mounted(tmp_path / "bpf") as bpffs:
        reconciler = Reconciler(Shadow(Pins(bpffs / "gtm")), KEYS, JIFFIES, tmp_path, 0.0)
    backends = tuple(Backend(name=f"a{n}", address=ip_address(f"10.1.0.{n}")) for n in range(11, 31))
    services = dataplane(replace(WEB, backends=backends))
    before = plan(services, HERE, sight())
    reconciler.apply(before, 1000.0)
    first = slots_of(reconciler)
    subject = Subject(kind="backend", name="web/a11")
    order = Override(subject=subject, action=Action.DRAIN, owner="ana", reason="disk", since_s=1.0)
    during = plan(services, HERE, sight(orders=(order,), active=before.active, left=before.left))
    reconciler.apply(during, 1000.0)
    after = plan(services, HERE, sight(orders=(order,), active=during.active, left=during.left, now_s=1061.0))
    reconciler.apply(after, 1061.0)
    slots = slots_of(reconciler)
    beside = (slots & SLOT_BACKEND != first) & (first != reconciler.numbers["web/a11"])
    assert beside.any()
    assert np.array_equal(slots & SLOT_TRANSITION != 0, beside)
    assert np.array_equal(slots[beside] >> SLOT_PREVIOUS_SHIFT, first[beside])


def slots_of(reconciler: Reconciler) -> Slots:
    table = reconciler.rings["web"].table
    assert table is not None
    return table.slots.copy()
