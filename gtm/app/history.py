"""A past answer worked out again: the journal's judgements and orders of a revision, under the deployment of now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gtm.app.columns import moment
from gtm.app.folders import state_folder, store_file
from gtm.app.scene import Scene, scene_of_view
from gtm.app.view import View, read_view
from gtm.decide.plan import Decision, decide
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError
from gtm.model.name import LastGood
from gtm.model.plan import Plan, PoolPlan
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.store.revisions import REVISIONS_MAX, Revision
from gtm.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was served at a moment, in seconds since the epoch: `scene` has that revision's decision."""

    scene: Scene
    at_s: float


def past(folder: Path, *, revision: int | None = None, at_s: float | None = None) -> Past:
    """The past of the node of a deployment folder: at a revision, as it began, or at a moment.

    Raises AskedError for what the journal does not have (any more), GtmError where no node has ever run.
    """
    state = state_folder(folder)
    if not (state / TABLES / MANIFEST).exists() or not store_file(state).exists():
        raise GtmError(f"no node has published anything into {state} yet, so there is no past to look at")
    view = read_view(state)
    with Store(store_file(state)) as store:
        journal = store.revisions(limit=REVISIONS_MAX)
        wanted = _at_revision(journal, revision) if revision is not None else _at_moment(journal, at_s or 0.0)
        decision = _decided(store, journal, wanted, view.deployment)
    scene = scene_of_view(view)
    notes = (*_notes(wanted, view, decision), *scene.notes)
    return Past(
        scene=replace(scene, decision=decision, live=False, notes=notes),
        at_s=wanted.at_s if at_s is None else at_s,
    )


def _at_revision(journal: tuple[Revision, ...], number: int) -> Revision:
    found = next((one for one in journal if one.revision == number), None)
    if found is None:
        raise AskedError(f"the journal has no revision {number}{_reach(journal)}", argument="--at-revision")
    return found


def _at_moment(journal: tuple[Revision, ...], at_s: float) -> Revision:
    """The latest revision that had been decided by then."""
    found = next((one for one in journal if one.at_s <= at_s), None)
    if found is None:
        raise AskedError(f"the journal does not reach back to {moment(at_s)}{_reach(journal)}", argument="--at")
    return found


def _reach(journal: tuple[Revision, ...]) -> str:
    if not journal:
        return ": it is empty"
    last, first = journal[0], journal[-1]
    return f": it goes from {first.revision} ({moment(first.at_s)}) to {last.revision} ({moment(last.at_s)})"


def _decided(store: Store, journal: tuple[Revision, ...], wanted: Revision, deployment: Deployment) -> Decision:
    snapshot = _snapshot(store, wanted, deployment)
    if snapshot is None:
        raise AskedError(f"revision {wanted.revision} has just left the journal", argument="--at-revision")
    decision = decide(snapshot)
    good = dict(_last_good(store, journal, decision))
    if not good:
        return decision
    return decide(snapshot, replace(decision, plan=Plan(revision=wanted.revision, pools=good)))


def _snapshot(store: Store, revision: Revision, deployment: Deployment) -> Snapshot | None:
    inputs = store.inputs(revision.revision)
    if inputs is None:
        return None
    return Snapshot(
        revision=revision.revision,
        now_s=revision.at_s,
        deployment=deployment,
        judgements=inputs.judgements,
        overrides=inputs.overrides,
    )


def _last_good(store: Store, journal: tuple[Revision, ...], decision: Decision) -> Iterator[tuple[str, PoolPlan]]:
    """The plans when something was last available, of pools that were all down and are asked by a `last_good` name."""
    deployment = decision.snapshot.deployment
    asked = {name.pool for name in deployment.names if isinstance(name.all_down, LastGood)}
    missing = {name for name in asked if decision.plan.pools[name].all_down}
    for revision in journal:
        if not missing:
            return
        if revision.revision >= decision.plan.revision:
            continue
        snapshot = _snapshot(store, revision, deployment)
        plan = None if snapshot is None else decide(snapshot).plan
        for name in tuple(missing):
            if plan is not None and not plan.pools[name].all_down:
                missing.remove(name)
                yield name, plan.pools[name]


def _notes(wanted: Revision, view: View, decision: Decision) -> Iterator[str]:
    yield (
        f"Worked out again from the journal: health and orders are those of revision {wanted.revision} "
        f"({moment(wanted.at_s)}), everything else is as it is now."
    )
    published_s = _published_s(view)
    unknown = sum(target not in decision.snapshot.judgements for target in decision.snapshot.deployment.targets())
    if published_s > wanted.at_s:
        yield (
            f"The deployment, its zones or its places were last changed at {moment(published_s)}, after that: "
            "the answer may have been another one."
        )
    if unknown:
        yield f"{unknown} of the targets were not judged then; they may have been added since."


def _published_s(view: View) -> float:
    """When the newest of the files that the present tables are made from was first written."""
    manifest = view.manifest
    files = (manifest.deployment, manifest.authority, manifest.classes)
    try:
        return max((view.state / TABLES / name).stat().st_mtime for name in files)
    except OSError:  # replaced just now
        return float("inf")
