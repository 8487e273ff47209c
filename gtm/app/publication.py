"""The publication: decides on what is known and makes it current, revision by revision."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from gtm.answer.compile import compile_sets
from gtm.answer.table import SteeredSet
from gtm.app.bundle import Bundle
from gtm.app.secret import secret
from gtm.app.view import decision_of
from gtm.decide.plan import Decision, decide
from gtm.model.check import Target
from gtm.model.errors import StoreError
from gtm.model.health import Judgement
from gtm.model.override import Override
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import Base, Publisher, load_deployment
from gtm.store.store import Store

log = structlog.get_logger()


class Publication:
    """What one node's workers answer from. Where a step fails, the tables in force stay in force."""

    def __init__(self, state: Path, store: Store, clock: Callable[[], float]) -> None:
        """Go on from what an earlier run left in a state folder. Raises StoreError."""
        self._clock = clock
        self._control = Control(state, writable=True)
        self._publisher = Publisher(state, self._control, key=secret(state))
        self._revision = store.next_revision(at_least=self._control.revision + 1) - 1
        self._earlier = last_decision(state)
        self.laid: tuple[Bundle, Base] | None = None
        self._sets: tuple[SteeredSet, ...] = ()
        self._set_layout: object = None
        self.decision: Decision | None = None
        self.behind = False

    @property
    def revision(self) -> int:
        """The revision in force."""
        return self._revision

    def lay(self, bundle: Bundle) -> Base:
        """Write down all of a bundle that does not change with health, for `adopt`. Raises StoreError."""
        return self._publisher.lay(bundle.deployment, bundle.authority, bundle.layout.index, bundle.classes_file)

    def adopt(self, bundle: Bundle, base: Base) -> None:
        """Publish from this bundle, which was laid, from now on."""
        self.laid = bundle, base

    def publish(self, judgements: Mapping[Target, Judgement], overrides: tuple[Override, ...]) -> bool:
        """Decide on what is known now and make it current; whether that worked. `behind` says whether it did not."""
        if self.laid is None:
            return False
        (bundle, base), in_force = self.laid, self.decision
        snapshot = Snapshot(
            revision=self._revision + 1,
            now_s=self._clock(),
            deployment=bundle.deployment,
            judgements=judgements,
            overrides=overrides,
        )
        same = in_force is not None and self._set_layout is bundle.layout
        gc.disable()  # plans are many objects, none of them garbage: without this the worst of 20 changes took 136 ms
        try:
            decision = decide(snapshot, in_force or self._earlier, bundle.dependents)
            sets = compile_sets(decision.plan, bundle.layout, self._sets if same else None, decision.touched)
            self._publisher.publish(base, bundle.deployment, snapshot.revision, sets, snapshot.now_s)
        except StoreError as error:
            log.error("not_published", revision=snapshot.revision, reason=str(error))
            self.behind = True
            return False
        finally:
            gc.enable()
        self._revision, self.decision, self._sets, self._set_layout = snapshot.revision, decision, sets, bundle.layout
        self.behind = False
        log.info("published", revision=snapshot.revision, pools=len(decision.touched))
        return True

    def pulse(self) -> None:
        """Say that the tables in force are right now; not while they are behind, as their age must show then."""
        if not self.behind:
            self._control.pulse()

    def leave(self) -> None:
        """Say that nobody keeps the tables up to date any more."""
        self._control.leave()


def last_decision(state: Path) -> Decision | None:
    """What an earlier run decided last, so that `last_good` outlives a restart; None if it left nothing readable."""
    try:
        deployment = load_deployment(state, Manifest.load(state / TABLES))
        return decision_of(deployment, Facts.load(state))
    except StoreError:
        return None
