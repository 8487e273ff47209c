"""What people order: drains and forced states, guarded, shown before and after, and kept in the store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gtm.app.await_revision import Applied, await_revision, facts_now
from gtm.app.folders import state_folder, store_file
from gtm.app.question import near
from gtm.app.view import read_view
from gtm.config.deployment import load
from gtm.decide.plan import decide
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError, Refused
from gtm.model.override import SUBJECT_FORMS, Action, Override, Subject
from gtm.model.plan import Plan, PoolPlan
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.store.overrides import AuditEntry
from gtm.store.store import Store
from gtm.web.document import as_object

WAIT_S = 3.0
REASON_MAX, OWNER_MAX = 500, 100
GUARD = "last-region"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an order changes for one pool: the available regions before and after, and the traffic that moves.

    `share_moved` is a share of all traffic (0 to 1), by the regions' shares and the instances' weights; None where
    some region's share is not known.
    """

    pool: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    share_moved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An order that was given or taken back (`what`: drain, force-up, force-down, remove), or would be (`dry_run`)."""

    what: str
    subject: Subject
    owner: str
    reason: str | None
    until_s: float | None
    replaced: Override | None
    dry_run: bool
    effects: tuple[Effect, ...]
    applied: Applied | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The orders in force, and the latest changes of orders, newest first."""

    now_s: float
    overrides: tuple[Override, ...]
    audit: tuple[AuditEntry, ...]


def give(
    folder: Path,
    *,
    subject: str,
    action: str,
    owner: str,
    reason: str,
    for_s: float | None,
    force: bool,
    dry_run: bool,
) -> Done:
    """Order something of a subject. It replaces the order that the subject has.

    Raises AskedError for an unknown subject, Refused if a pool that is served now would have no region left (unless
    `force`), StoreError if the order cannot be kept.
    """
    now_s = time.time()
    state = state_folder(folder)
    snapshot = _snapshot(folder, state, now_s)
    order = Override(
        subject=subject_of(subject, snapshot.deployment),
        action=Action(action),
        owner=_line(owner, "--by", OWNER_MAX),
        reason=_line(reason, "--reason", REASON_MAX),
        since_s=now_s,
        until_s=None if for_s is None else now_s + for_s,
    )
    replaced = next((one for one in snapshot.overrides if one.subject == order.subject), None)
    kept = tuple(one for one in snapshot.overrides if one is not replaced)
    effects = tuple(effects_of(snapshot, (*kept, order)))
    if not force:
        guard(effects, order.subject)
    applied = None
    if not dry_run:
        facts = facts_now(state)
        with _store(state) as store:
            store.put(order)
        applied = await_revision(state, facts, WAIT_S, lambda now: order in now.overrides)
    return Done(
        what=str(order.action),
        subject=order.subject,
        owner=order.owner,
        reason=order.reason,
        until_s=order.until_s,
        replaced=replaced,
        dry_run=dry_run,
        effects=effects,
        applied=applied,
    )


def take_back(folder: Path, *, subject: str, actions: tuple[str, ...], owner: str, force: bool, dry_run: bool) -> Done:
    """Take back a subject's order, which must be one of `actions`. Raises as `give` does."""
    now_s = time.time()
    state = state_folder(folder)
    snapshot = _snapshot(folder, state, now_s)
    who = _line(owner, "--by", OWNER_MAX)
    standing = _standing(subject, actions, snapshot.overrides)
    kept = tuple(one for one in snapshot.overrides if one is not standing)
    effects = tuple(effects_of(snapshot, kept))
    if not force:
        guard(effects, standing.subject)
    applied = None
    if not dry_run:
        facts = facts_now(state)
        with _store(state) as store:
            store.remove(standing.subject, by=who, reason=standing.reason, now_s=now_s)
        applied = await_revision(state, facts, WAIT_S, lambda now: standing not in now.overrides)
    return Done(
        what="remove",
        subject=standing.subject,
        owner=who,
        reason=None,
        until_s=None,
        replaced=standing,
        dry_run=dry_run,
        effects=effects,
        applied=applied,
    )


def listing(folder: Path, *, limit: int) -> Listing:
    """The orders in force and the latest `limit` changes. Raises StoreError."""
    now_s = time.time()
    state = state_folder(folder)
    if not store_file(state).exists():
        return Listing(now_s=now_s, overrides=(), audit=())
    with Store(store_file(state)) as store:
        return Listing(now_s=now_s, overrides=store.active(now_s), audit=store.audit(limit=limit))


def order_document(done: Done) -> dict[str, object]:
    """An order as JSON."""
    return as_object(done)


def listing_document(listed: Listing) -> dict[str, object]:
    """A listing as JSON."""
    return as_object(listed)


# What is asked


def subject_of(text: str, deployment: Deployment) -> Subject:
    """The subject that a text names. Raises AskedError, with what may have been meant, for one that there is not."""
    known = subjects(deployment)
    asked = _parse(text, known)
    found = known.get(str(asked))
    if found is None:
        raise AskedError(f"there is no {asked.kind} {asked.name[:80]!r}", argument="SUBJECT", known=_meant(text, known))
    return found


def _parse(text: str, known: Iterable[str]) -> Subject:
    """The subject as deployments spell it, whether or not there is one."""
    try:
        return Subject.parse(text)
    except ValueError:
        message = f"{text[:80]!r} is not {SUBJECT_FORMS}"
        raise AskedError(message, argument="SUBJECT", known=_meant(text, known)) from None


def _meant(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The subjects that a text may be about: those spelt nearly so, else those that end alike."""
    all_known = tuple(known)
    last = text.rpartition("/")[2]
    return near(text, all_known) or tuple(one for one in all_known if last and one.rpartition("/")[2] == last)[:3]


def subjects(deployment: Deployment) -> dict[str, Subject]:
    """Every subject of a deployment by its text."""
    names = (
        *(("region", region) for region in deployment.regions),
        *(("pool", pool) for pool in deployment.pools),
        *(("instance", f"{one.region}/{one.label}") for pool in deployment.pools.values() for one in pool.instances),
    )
    return {f"{kind}/{name}": Subject(kind=kind, name=name) for kind, name in names}


def _standing(subject: str, actions: tuple[str, ...], overrides: tuple[Override, ...]) -> Override:
    """The order to take back; subjects that the deployment has no more can be named too."""
    fitting = [str(one.subject) for one in overrides if str(one.action) in actions]
    asked = _parse(subject, fitting)
    found = next((one for one in overrides if one.subject == asked), None)
    if found is None:
        known = _meant(subject, fitting) or tuple(fitting[:3])
        raise AskedError(f"there is no order for {str(asked)[:80]!r}", argument="SUBJECT", known=known)
    if str(found.action) not in actions:
        instead = "gtm undrain" if found.action is Action.DRAIN else "gtm unforce"
        raise AskedError(f"the order for {asked} is {found.action}; {instead} takes it back", argument="SUBJECT")
    return found


def _line(text: str, argument: str, length_max: int) -> str:
    """A text of people on one line. Raises AskedError where it is empty, too long, or holds control characters."""
    line = " ".join(text.split())
    if not line:
        raise AskedError("is empty", argument=argument)
    if len(line) > length_max:
        raise AskedError(f"is longer than {length_max} characters", argument=argument)
    if not line.isprintable():
        raise AskedError("holds characters that cannot be printed", argument=argument)
    return line


# What it does


def _snapshot(folder: Path, state: Path, now_s: float) -> Snapshot:
    """What the node knows, with the orders that stand in the store; from the files alone where none has run."""
    overrides: tuple[Override, ...] = ()
    if store_file(state).exists():
        with Store(store_file(state)) as store:
            overrides = store.active(now_s)
    if (state / TABLES / MANIFEST).exists():
        view = read_view(state)
        deployment, judgements = view.deployment, view.decision.snapshot.judgements
    else:
        deployment, judgements = load(folder), {}
    return Snapshot(revision=0, now_s=now_s, deployment=deployment, judgements=judgements, overrides=overrides)


def _store(state: Path) -> Store:
    """The node's store, made if the node has not run yet."""
    try:
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise GtmError(f"{state}: {error.strerror}") from error
    return Store(store_file(state))


def effects_of(snapshot: Snapshot, overrides: tuple[Override, ...]) -> Iterator[Effect]:
    """What other orders would change, for each pool that they change."""
    deployment = snapshot.deployment
    before = decide(snapshot).plan
    after = _with(snapshot, overrides)
    for name in deployment.pools:
        pool, changed = before.pools[name], after.pools[name]
        moved = share_moved(pool, changed, deployment)
        regions = _available(pool), _available(changed)
        if moved != 0 or regions[0] != regions[1]:
            yield Effect(pool=name, before=regions[0], after=regions[1], share_moved=moved)


def _with(snapshot: Snapshot, overrides: tuple[Override, ...]) -> Plan:
    return decide(
        Snapshot(
            revision=snapshot.revision,
            now_s=snapshot.now_s,
            deployment=snapshot.deployment,
            judgements=snapshot.judgements,
            overrides=overrides,
        )
    ).plan


def _available(pool: PoolPlan) -> tuple[str, ...]:
    return tuple(region.region for region in pool.regions.values() if region.available)


def share_moved(before: PoolPlan, after: PoolPlan, deployment: Deployment) -> float | None:
    """The share of all traffic that instances lose; None where instances change and a region's share is not known."""
    lost = 0.0
    then = _loads(after)
    for (region, label), part in _loads(before).items():
        less = part - then.get((region, label), 0.0)
        if less > 1e-9:
            share = deployment.regions[region].share
            if share is None:
                return None
            lost += less * share
    return round(lost, 4)


def _loads(pool: PoolPlan) -> dict[tuple[str, str], float]:
    """Each answered instance's part of its region's traffic."""
    loads: dict[tuple[str, str], float] = {}
    for region in pool.regions.values():
        answered = [one.instance for one in region.instances if region.available and one.available]
        total = sum(instance.weight for instance in answered)
        loads.update({(region.region, instance.label): instance.weight / total for instance in answered})
    return loads


def guard(effects: Iterable[Effect], subject: Subject) -> None:
    """Raises Refused if a pool that has an available region would have none."""
    emptied = [effect.pool for effect in effects if effect.before and not effect.after]
    if emptied:
        raise Refused(
            f"{', '.join(emptied)} would have no available region left; --force does it all the same ({subject})",
            guard=GUARD,
        )
