"""docs/cli.md names every key that commands print."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from gtm.app.await_revision import Applied
from gtm.app.check import Counts, FailedTest, Fault, Report
from gtm.app.explain import Explained, Outcome, RegionStep, Slot
from gtm.app.geodata import Checked, Shown, Updated
from gtm.app.init import Written
from gtm.app.people import Done, Effect, Listing
from gtm.decide.explain import Candidate, TriedRule
from gtm.model.health import Result
from gtm.model.override import Override
from gtm.store.overrides import AuditEntry
from gtm.web import status as s

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
PRINTED = (
    Applied, Counts, FailedTest, Fault, Report, Explained, Outcome, RegionStep, Slot, Checked, Shown, Updated, Written,
    Done, Effect, Listing, Candidate, TriedRule, Result, Override, AuditEntry, s.Status, s.ControllerStatus,
    s.TableStatus, s.WorkerStatus, s.RegionStatus, s.PoolStatus, s.PoolRegionStatus, s.InstanceStatus, s.DatabaseStatus,
)  # fmt: skip


@pytest.mark.parametrize("kind", PRINTED, ids=lambda kind: kind.__name__)
def test_every_key_is_documented(kind: type) -> None:
    missing = [field.name for field in fields(kind) if f"`{field.name}`" not in TEXT]
    assert missing == []
