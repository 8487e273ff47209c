"""The report of a balancer's manager, in a folder of its own within the state folder, for those who show it."""

from __future__ import annotations

from pathlib import Path

from gtm.app.balance.memory import FOLDER
from gtm.model.balancing import BalancerReport
from gtm.model.errors import GtmError, StoreError
from gtm.publish.dns import sealed

REPORT = "report"
KIND = "balancer"


def folder(state: Path) -> Path:
    """The manager's folder in a state folder, made if need be. Raises GtmError."""
    path = state / FOLDER
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    return path


def save(state: Path, report: BalancerReport) -> None:
    """Replace the report of a state folder. Raises StoreError."""
    sealed.write(state / FOLDER / REPORT, KIND, sealed.freeze(report))


def load(state: Path) -> BalancerReport:
    """The report of a state folder. Raises StoreError where there is none, or one of another version."""
    path = state / FOLDER / REPORT
    found = sealed.thaw(sealed.read(path, KIND))
    if not isinstance(found, BalancerReport):
        raise StoreError(f"{path}: is not a balancer's report")
    return found
