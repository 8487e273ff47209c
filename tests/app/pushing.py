"""A published state folder whose deployment wants results pushed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gtm.answer.compile import compile_sets, layout
from gtm.decide.plan import decide
from gtm.geo import tablefile
from gtm.model.check import Check, PushProbe
from gtm.model.deployment import Deployment
from gtm.model.load import LoadSettings
from gtm.model.rtt import RttSettings
from gtm.publish.dns.control import Control
from gtm.publish.dns.tables import Publisher
from tests.answer.table import classes, table
from tests.decide.world import CHECK, POOL, WWW, deployment, instances, snapshot

TOKEN = "correct-horse-battery-staple"
OUTSIDE = Check(name="outside", probe=PushProbe(ttl_s=60.0))
PUSHED_POOL = replace(POOL, name="example.com/pushed", check="outside", instances=instances(1))


def wanted(*, reports: bool = True) -> Deployment:
    """A deployment with a pool whose instances' health is pushed."""
    made = deployment(WWW, pools=(POOL, PUSHED_POOL))
    return replace(
        made,
        checks={"web": CHECK, "outside": OUTSIDE},
        load=LoadSettings(reports=reports),
        rtt=RttSettings(reports=reports),
    )


class Served:
    """A state folder that deployments are published into, without a controller."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._classes_file = state / "test.classes"
        tablefile.save(self._classes_file, classes())
        self._revision = 0
        self._publisher = Publisher(state, Control(state, writable=True), key=table().key)

    def publish(self, served: Deployment) -> None:
        lay = layout(served, classes().loci)
        base = self._publisher.lay(served, table().authority, lay.index, self._classes_file)
        plan = decide(snapshot(served)).plan
        self._revision += 1
        self._publisher.publish(base, served, self._revision, compile_sets(plan, lay), now_s=1000.0)
