"""`gtm balance drains`: how far the drains of this instance have come, from its manager's report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gtm.app.balance import standing
from gtm.app.folders import state_folder
from gtm.model.address import IPAddress
from gtm.model.balancing import Standing
from gtm.model.errors import GtmError, StoreError
from gtm.web.document import as_object

OLD_S = 10.0  # a report that a living manager would have replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A backend that takes no new flows. `eta_s` until the flows that it still has move; None: it has none any more.

    `flows` are those that the flow table holds of it, `packets_per_s` what still comes for it; None: not known.
    """

    service: str
    backend: str
    address: IPAddress
    reason: str
    flows: int | None
    packets_per_s: float | None
    eta_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drains:
    """The drains of an instance, as its manager said `age_s` ago; `alive`: that one is still at work."""

    node: str
    age_s: float
    alive: bool
    drains: tuple[Drain, ...]


def drains(folder: Path, *, now_s: float | None = None) -> Drains:
    """The drains that the manager knows of. Raises GtmError where none has run here."""
    now_s = time.time() if now_s is None else now_s
    try:
        report = standing.load(state_folder(folder))
    except StoreError as error:
        raise GtmError(f"{error}; `gtm balance run` writes it") from error
    age_s = max(0.0, now_s - report.at_s)
    return Drains(
        node=report.node,
        age_s=age_s,
        alive=bool(report.pid) and age_s < OLD_S,
        drains=tuple(
            Drain(
                service=service.name,
                backend=each.name,
                address=each.address,
                reason=each.reason,
                flows=each.flows,
                packets_per_s=each.packets_per_s,
                eta_s=None if each.until_s is None else max(0.0, each.until_s - now_s),
            )
            for service in report.services
            for each in service.backends
            if each.standing is Standing.DRAINING or each.drained
        ),
    )


def drains_document(found: Drains) -> dict[str, object]:
    """The drains as JSON."""
    return as_object(found)


def drains_text(found: Drains) -> str:
    """The drains in lines."""
    lines = [] if found.alive else [f"no manager is at work; this is {found.age_s:.0f} s old"]
    for each in found.drains:
        if each.eta_s is None:
            lines.append(f"{each.service}/{each.backend} ({each.address}): out: {each.reason}")
            continue
        flows = "flows not counted yet" if each.flows is None else f"{each.flows} flows"
        rate = "" if each.packets_per_s is None else f", {each.packets_per_s:.0f} packets/s"
        left = f"{flows}{rate}, {each.eta_s:.0f} s left"
        lines.append(f"{each.service}/{each.backend} ({each.address}): {left}: {each.reason}")
    return "\n".join(lines) or "nothing drains"
