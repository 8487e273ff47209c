"""What people want: one checked, immutable reading of the deployment folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm.model.anycast import Anycast
from gtm.model.balance import Dataplane
from gtm.model.check import Check, Composed, Target
from gtm.model.expectation import Expectation
from gtm.model.load import LoadSettings
from gtm.model.name import SteeredName
from gtm.model.node import Node
from gtm.model.policy import Policy
from gtm.model.pool import Pool
from gtm.model.region import Region
from gtm.model.rtt import RttSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The deployment: this node, regions in file order, checks, pools by name, steered names, and their tests.

    `zone_files` are the master files by absolute zone name; their data is loaded by gtm.zone.
    """

    node: Node
    regions: Mapping[str, Region]
    checks: Mapping[str, Check]
    pools: Mapping[str, Pool]
    names: tuple[SteeredName, ...]
    zone_files: Mapping[str, str]
    expectations: tuple[Expectation, ...] = ()
    rtt: RttSettings | None = None
    load: LoadSettings | None = None
    anycast: Anycast | None = None
    dataplane: Dataplane | None = None

    def targets(self) -> dict[Target, Check]:
        """Every target that some pool needs, once, with its check; those that composed checks look at, too."""
        found: dict[Target, Check] = {}
        wanted = [target for pool in self.pools.values() for target in pool.targets()]
        while wanted:
            further: list[Target] = []
            for target in wanted:
                if target in found:
                    continue
                check = found[target] = self.checks[target.check]
                if isinstance(check.probe, Composed):
                    members = check.probe.members()
                    further.extend(Target(check=m.check, address=m.address or target.address) for m in members)
            wanted = further
        return found

    def policies(self) -> tuple[Policy, ...]:
        """Every distinct policy, in the order of the names that use it first."""
        return tuple(dict.fromkeys(name.policy for name in self.names))
