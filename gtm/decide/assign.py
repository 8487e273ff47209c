"""Which nodes probe a target, where not all of them should: each works it out alone, and all come to the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from gtm.model.check import Check, Target


def assigned(node: str, nodes: Iterable[str], checks: Mapping[Target, Check]) -> dict[Target, Check]:
    """The targets that `node` probes, `nodes` being all that are alive, itself among them.

    Where a check wants `vantages` of them, those with the highest hash of node and target are taken (rendezvous
    hashing, Thaler and Ravishankar 1998): a node that comes or goes moves no target but its own.
    """
    others = [name for name in nodes if name != node]
    return {target: check for target, check in checks.items() if _mine(node, others, target, check.vantages)}


def _mine(node: str, others: list[str], target: Target, vantages: int | None) -> bool:
    if vantages is None or len(others) < vantages:
        return True
    own = _weight(node, target)
    return sum(_weight(other, target) > own for other in others) < vantages


def _weight(node: str, target: Target) -> tuple[bytes, str]:
    return blake2b(f"{node} {target}".encode(), digest_size=8).digest(), node
