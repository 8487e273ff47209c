"""What holds for every test: what runs beside what, and in CI no skip for want of something that CI can install.

A skip whose reason begins with "needs" (a package, a program, root) is a failure when CI=true; so is an import that a
test hoped for. Reasons that no package can help (a kernel without a feature) are put otherwise: see tests/README.md.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

LABORATORY = ("tests/lab/", "tests/app/balance/", "tests/dataplane/test_pins")
INSTALLABLE = ("needs", "could not import")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why the reported test, or module, was skipped; empty where it was not, or is an expected failure."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return ""
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def must_not_skip(report: Report) -> Report:
    """The report, turned into a failure where CI could have installed what was missing."""
    reason = skip_reason(report)
    if os.environ.get("CI") == "true" and reason.startswith(INSTALLABLE):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything that can be installed must be: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each phase of a test."""
    return must_not_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge modules that skip themselves as a whole."""
    return must_not_skip((yield))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """The laboratory's tests run one after the other, whatever runs beside them: each fills the machine by itself."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "laboratory" if nodeid.startswith(LABORATORY) else nodeid

    return Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis: no deadline anywhere (a busy machine is not a fault), and the same examples on each run in CI."""
    from hypothesis import settings

    settings.register_profile("gtm", deadline=None)
    settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
    settings.load_profile("ci" if os.environ.get("CI") == "true" else "gtm")
