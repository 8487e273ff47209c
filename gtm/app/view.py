"""A view of a node from its state folder: for the CLI and the API, whether or not a controller lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.app.crew import FOLDER, holder
from gtm.app.nameserver import counters
from gtm.decide.plan import Decision, decide
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.model.plan import Plan
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import load_deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A DNS worker: alive while it holds its slot's lock; `revision` is that of the table it answers from."""

    name: str
    pid: int
    alive: bool
    revision: int
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A node at one moment. `age_s` is how long ago a controller last confirmed the tables (infinite: before a reboot).

    `controller_pid` is None where no controller runs. `manifest` names the current tables; `facts` what the controller
    knew when it last wrote them down; `decision` is worked out again from those.
    """

    state: Path
    deployment: Deployment
    manifest: Manifest
    facts: Facts
    decision: Decision
    controller_pid: int | None
    age_s: float
    workers: tuple[WorkerView, ...]


def read_view(state: Path) -> View:
    """The view of a state folder. Raises StoreError where nothing has been published yet."""
    manifest = Manifest.load(state / TABLES)
    deployment = load_deployment(state, manifest)
    facts = Facts.load(state)
    return View(
        state=state,
        deployment=deployment,
        manifest=manifest,
        facts=facts,
        decision=decision_of(deployment, facts),
        controller_pid=holder(state, "controller"),
        age_s=Control(state).age_s(),
        workers=tuple(worker_view(state, path) for path in sorted((state / FOLDER).glob("*.counters"))),
    )


def decision_of(deployment: Deployment, facts: Facts) -> Decision:
    """The controller's decision, worked out again from its facts."""
    snapshot = Snapshot(
        revision=facts.revision,
        now_s=facts.now_s,
        deployment=deployment,
        judgements=facts.judgements,
        overrides=facts.overrides,
    )
    remembered = Decision(snapshot=snapshot, plan=Plan(revision=facts.revision, pools=facts.last_good), touched=())
    return decide(snapshot, remembered)


def worker_view(state: Path, path: Path) -> WorkerView:
    """One worker, from its counters' page."""
    try:
        facts, counts = counters.read(path)
    except StoreError:
        facts, counts = {"pid": 0, "revision": 0}, {}
    pid = holder(state, path.stem)
    return WorkerView(
        name=path.stem, pid=pid or facts["pid"], alive=pid is not None, revision=facts["revision"], counters=counts
    )
