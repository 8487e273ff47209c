"""docs/operating.md lists every metric as it is exposed, and names none that there is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from prometheus_client.core import Metric

from gtm.web.metrics import metrics
from tests.web.announced import ANNOUNCED
from tests.web.balanced import BALANCED
from tests.web.sample import STATUS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operating.md").read_text()
RULES = (ROOT / "docs" / "alerts.yaml").read_text()
WHOLE = replace(STATUS, announcements=ANNOUNCED, balancer=BALANCED)


def exposed(family: Metric) -> str:
    """A family's name as scrapes have it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def row(family: Metric) -> str:
    """A family's row in the table of all metrics."""
    labels = ", ".join(f"`{label}`" for label in family._labelnames) or "-"  # type: ignore[attr-defined]
    return f"| `{exposed(family)}` | {labels} | {family.documentation} |"


def test_every_metric_has_its_row() -> None:
    rows = [row(family) for family in metrics(WHOLE)]
    missing = [one for one in rows if one not in TEXT.splitlines()]
    assert missing == []
    assert [line for line in TEXT.splitlines() if re.match(r"\| `gtm_\w+` \| (-|`)", line)] == rows


def test_nothing_is_named_that_there_is_not() -> None:
    known = {exposed(family) for family in metrics(WHOLE)}
    assert set(re.findall(r"\bgtm_\w+", TEXT + RULES)) <= known
