"""docs/cli.md names every key that commands print, and every command line that is shown anywhere can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from gtm.app.announce.check import Finding, Inspected
from gtm.app.announce.convert import Converted
from gtm.app.announce.convert_notes import Note
from gtm.app.announce.moved import LadderStep, MovedAnnouncement
from gtm.app.announce.plan import (
    Planned,
    PlannedAnnouncement,
    PlannedRegion,
    PlannedRoute,
    PlannedRpki,
    PlannedStep,
)
from gtm.app.announce.render import Rendered
from gtm.app.await_revision import Applied
from gtm.app.balance import run as balance_run
from gtm.app.balance import show as balance_show
from gtm.app.balance.decap import Decap
from gtm.app.balance.doctor import Examined
from gtm.app.balance.drains import Drain, Drains
from gtm.app.balance.explain import BalanceExplained, ExplainedFlow, ExplainedOuter, ExplainedRow
from gtm.app.balance.leaving import BackendsLeft, LeavingBackend
from gtm.app.balance.sample import Sampled
from gtm.app.balance.setup import BackendSetup
from gtm.app.balance.top import Top, TopBackend, TopRates, TopReason, TopService, TopVip
from gtm.app.check import Counts, FailedTest, Fault, Report
from gtm.app.check_log import Logged
from gtm.app.explain import Explained, Outcome, RegionStep, Slot
from gtm.app.explain_prefix import ExplainedPrefix, ExplainedRoute, ExplainedSpeaker
from gtm.app.geodata import Checked, Shown, Updated
from gtm.app.init import Written
from gtm.app.people import Done, Effect, Listing
from gtm.app.push import Delivered
from gtm.app.rtt_show import Preferring, ShownRtt
from gtm.app.rtt_shown import MeasuredLevel, MeasuredRegion
from gtm.app.tune import CheckTuned, Tuned
from gtm.cli.main import build_parser
from gtm.decide.explain import Candidate, TriedRule
from gtm.decide.replay import Detection, Score, Setting
from gtm.model.announcing import AnnouncerReport, NeighbourReport, RouteReport, ServiceReport
from gtm.model.balance import Gateway
from gtm.model.balancing import BackendCounts, BalancerCounts, VipCounts
from gtm.model.chronicle import Run, Transition
from gtm.model.cluster import ClusterState, PeerState
from gtm.model.health import Result, Vote
from gtm.model.load import LoadSourceState, LoadSubject, LoadSummary, LoadValue
from gtm.model.override import Override
from gtm.model.route import Attributes, Communities
from gtm.model.rtt import RttState
from gtm.store.overrides import AuditEntry
from gtm.web import status as s

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "cli.md").read_text()
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PRINTED = (
    balance_show.Shown, balance_show.ShownService, balance_show.ShownBackend, Gateway, Decap,
    BackendsLeft, LeavingBackend, BackendSetup,
    Sampled, Top, TopBackend, TopRates, TopReason, TopService, TopVip, BackendCounts, VipCounts,
    BalanceExplained, ExplainedFlow, ExplainedOuter, ExplainedRow,
    balance_run.Foreseen, balance_run.ForeseenRing, Examined, Drain, Drains,
    LadderStep, MovedAnnouncement, AnnouncerReport, NeighbourReport, RouteReport, ServiceReport, Attributes,
    Planned, PlannedAnnouncement, PlannedRegion, PlannedRoute, PlannedRpki, PlannedStep, ExplainedPrefix,
    ExplainedRoute, ExplainedSpeaker, Communities, s.AnnouncementsStatus, s.BalancerStatus, BalancerCounts, s.BfdStatus,
    Rendered, Finding, Inspected, Converted, Note,
    Applied, Counts, FailedTest, Fault, Report, Explained, Outcome, RegionStep, Slot, Checked, Shown, Updated, Written,
    ClusterState, PeerState, Vote, RttState,
    MeasuredLevel, MeasuredRegion, Preferring, ShownRtt,
    LoadSourceState, LoadSubject, LoadSummary, LoadValue,
    Logged, Transition, Run, Tuned, CheckTuned, Score, Setting, Detection,
    Done, Delivered, Effect, Listing, Candidate, TriedRule, Result, Override, AuditEntry, s.Status, s.ControllerStatus,
    s.TableStatus, s.WorkerStatus, s.RegionStatus, s.PoolStatus, s.PoolRegionStatus, s.InstanceStatus, s.DatabaseStatus,
)  # fmt: skip


@pytest.mark.parametrize("kind", PRINTED, ids=lambda kind: kind.__name__)
def test_every_key_is_documented(kind: type) -> None:
    missing = [field.name for field in fields(kind) if f"`{field.name}`" not in TEXT]
    assert missing == []


def typed(text: str) -> Iterator[str]:
    """The gtm commands on the lines of a shell's text, without what stands beside them."""
    for line in text.splitlines():
        for command in re.split(r" && | \| ", line.strip()):
            if re.match(r"(\.venv/bin/|/opt/gtm/bin/)?gtm [a-z]", command):
                yield re.split(r"   +", command)[0]


def in_pages() -> Iterator[str]:
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            yield from typed(block)


def in_help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from typed(parser.epilog or "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from in_help(command)


SHOWN = sorted({*in_pages(), *in_help(build_parser())})


def test_there_are_examples() -> None:
    assert len(SHOWN) > 30


@pytest.mark.parametrize("command", SHOWN)
def test_every_example_can_be_typed(command: str) -> None:
    options = build_parser().parse_args(shlex.split(command, comments=True)[1:])
    assert callable(options.run)
