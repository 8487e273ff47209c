"""What people order: drains and forced states, guarded, shown before and after, and kept in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gtm.app.announce.moved import MovedAnnouncement, moved_by
from gtm.app.await_revision import Applied, await_revision, facts_now
from gtm.app.balance import leaving
from gtm.app.folders import shared_file, state_folder
from gtm.app.order_book import ClusterBook, Look, NodeBook, OrderBook
from gtm.app.question import near
from gtm.app.view import read_view
from gtm.config.deployment import load
from gtm.decide.plan import decide
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, Refused, StoreError
from gtm.model.health import Judgement
from gtm.model.override import SUBJECT_FORMS, Action, Override, Subject
from gtm.model.plan import Plan, PoolPlan
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.store import shared_cache
from gtm.store.overrides import AuditEntry
from gtm.web.document import as_object

WAIT_S = 3.0
REASON_MAX, OWNER_MAX = 500, 100
RACES_MAX = 5  # orders of others that come between our look and our order, each of which is looked at anew
GUARD = "last-region"
NODE, CLUSTER = "node", "cluster"


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
    """An order that was given or taken back (`what`: drain, force-up, force-down, remove), or would be (`dry_run`).

    `scope` says for whom it is kept: "node" for this one alone, "cluster" for all that share its etcd. `shadowed`: it
    changes nothing here, since this node has an order of its own for the subject. `announcements` are those that a
    drain takes down the ladder, `backends` those of dataplane/services.yaml that take no new flows then.
    """

    what: str
    subject: Subject
    owner: str
    reason: str | None
    until_s: float | None
    replaced: Override | None
    dry_run: bool
    effects: tuple[Effect, ...]
    applied: Applied | None
    scope: str = NODE
    shadowed: bool = False
    announcements: tuple[MovedAnnouncement, ...] = ()
    backends: tuple[leaving.LeavingBackend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The orders in force in a scope ("node" or "cluster"), and the latest changes of them, newest first.

    With a cluster `local` has the orders of this node alone: on their subjects they beat those of the cluster, here.
    """

    now_s: float
    overrides: tuple[Override, ...]
    audit: tuple[AuditEntry, ...]
    scope: str = NODE
    local: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the node knows but for the orders."""

    folder: Path
    state: Path
    deployment: Deployment
    judgements: Mapping[Target, Judgement]

    def snapshot(self, overrides: tuple[Override, ...], now_s: float) -> Snapshot:
        return Snapshot(
            revision=0, now_s=now_s, deployment=self.deployment, judgements=self.judgements, overrides=overrides
        )


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
    local: bool = False,
) -> Done:
    """Order something of a subject. It replaces the order that the subject has in the same scope.

    That is the cluster where nodes share one, unless `local`. Raises AskedError for an unknown subject, Refused if a
    pool that is served now would have no region left (unless `force`), StoreError if the order cannot be kept.
    """
    now_s = time.time()
    known = _known(folder)
    order = Override(
        subject=_orderable(subject_of(subject, known.deployment), Action(action)),
        action=Action(action),
        owner=_line(owner, "--by", OWNER_MAX),
        reason=_line(reason, "--reason", REASON_MAX),
        since_s=now_s,
        until_s=None if for_s is None else now_s + for_s,
    )

    def plan(look: Look) -> _Step:
        replaced = next((one for one in look.overrides if one.subject == order.subject), None)
        return _Step(
            subject=order.subject,
            replaced=replaced,
            after=(*(one for one in look.overrides if one is not replaced), order),
            change=lambda book: book.put(order, look),
            includes=lambda now: order in now.overrides,
        )

    done = _carry_out(known, plan, now_s, local=local, force=force, dry_run=dry_run)
    return Done(
        what=str(order.action),
        subject=order.subject,
        owner=order.owner,
        reason=order.reason,
        until_s=order.until_s,
        replaced=done.step.replaced,
        dry_run=dry_run,
        effects=done.effects,
        applied=done.applied,
        scope=done.scope,
        shadowed=done.shadowed,
        announcements=moved_by(known.deployment, order) if order.action is Action.DRAIN else (),
        backends=done.leaving,
    )


def take_back(
    folder: Path, *, subject: str, actions: tuple[str, ...], owner: str, force: bool, dry_run: bool, local: bool = False
) -> Done:
    """Take back a subject's order, which must be one of `actions`. Raises as `give` does."""
    now_s = time.time()
    known = _known(folder)
    who = _line(owner, "--by", OWNER_MAX)

    def plan(look: Look) -> _Step:
        standing = _standing(subject, actions, look.overrides)
        return _Step(
            subject=standing.subject,
            replaced=standing,
            after=tuple(one for one in look.overrides if one is not standing),
            change=lambda book: book.remove(standing, look, by=who, now_s=now_s),
            includes=lambda now: standing not in now.overrides,
        )

    done = _carry_out(known, plan, now_s, local=local, force=force, dry_run=dry_run)
    return Done(
        what="remove",
        subject=done.step.subject,
        owner=who,
        reason=None,
        until_s=None,
        replaced=done.step.replaced,
        dry_run=dry_run,
        effects=done.effects,
        applied=done.applied,
        scope=done.scope,
        shadowed=done.shadowed,
    )


def listing(folder: Path, *, limit: int, local: bool = False) -> Listing:
    """The orders in force and the latest `limit` changes: the cluster's where nodes share one, unless `local`.

    Raises StoreError, and ConfigErrors where no node has run yet and its deployment is not sound.
    """
    now_s = time.time()
    with _books(_known(folder), local=local) as books:
        look = books.book.look(now_s)
        return Listing(
            now_s=now_s,
            overrides=look.overrides,
            audit=books.book.audit(limit),
            scope=books.scope,
            local=books.others(now_s) if books.scope == CLUSTER else (),
        )


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


def _orderable(subject: Subject, action: Action) -> Subject:
    """The subject, if it can be ordered to do that. Raises AskedError."""
    if subject.kind in ("speaker", "backend") and action is not Action.DRAIN:
        raise AskedError(f"{subject}: a {subject.kind} can be drained, not forced", argument="SUBJECT")
    return subject


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
    balanced = deployment.dataplane.services.values() if deployment.dataplane is not None else ()
    names = (
        *(("region", region) for region in deployment.regions),
        *(("pool", pool) for pool in deployment.pools),
        *(("instance", f"{one.region}/{one.label}") for pool in deployment.pools.values() for one in pool.instances),
        *(("speaker", node) for node in (deployment.anycast.speakers if deployment.anycast is not None else ())),
        *(("backend", each.key(backend)) for each in balanced for backend in each.backends),
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


def _known(folder: Path) -> _Known:
    """What the node has published; from the files alone where none has run."""
    state = state_folder(folder)
    if (state / TABLES / MANIFEST).exists():
        view = read_view(state)
        deployment, judgements = view.deployment, view.decision.snapshot.judgements
    else:
        deployment, judgements = load(folder), {}
    return _Known(folder=folder, state=state, deployment=deployment, judgements=judgements)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """The book of a scope, and the orders that stand in the other one."""

    scope: str
    book: OrderBook
    others: Callable[[float], tuple[Override, ...]]

    def effective(self, overrides: tuple[Override, ...], now_s: float) -> tuple[Override, ...]:
        """What stands for this node with these orders in the scope: on their subjects its own beat the cluster's."""
        here, there = overrides, self.others(now_s)
        if self.scope == CLUSTER:
            here, there = there, here
        own = {one.subject for one in here}
        return (*here, *(one for one in there if one.subject not in own))


@contextmanager
def _books(known: _Known, *, local: bool) -> Iterator[_Books]:
    """Where orders are kept. Raises StoreError."""
    cluster, own = known.deployment.node.cluster, NodeBook(known.state)
    if cluster is None:
        yield _Books(scope=NODE, book=own, others=lambda _: ())
    elif local:
        cached = shared_cache.load(shared_file(known.state), cluster.prefix)
        shared = () if cached is None else cached.overrides
        yield _Books(scope=NODE, book=own, others=lambda now_s: tuple(one for one in shared if one.active(now_s)))
    else:
        with ClusterBook(cluster, known.folder) as book:
            yield _Books(scope=CLUSTER, book=book, others=lambda now_s: own.look(now_s).overrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A change of a book that was looked at: what stands after it, how it is made, and when a node has taken it up."""

    subject: Subject
    replaced: Override | None
    after: tuple[Override, ...]
    change: Callable[[OrderBook], bool]
    includes: Callable[[Facts], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CarriedOut:
    """A step, and what came of it."""

    step: _Step
    scope: str
    effects: tuple[Effect, ...]
    shadowed: bool
    leaving: tuple[leaving.LeavingBackend, ...]
    applied: Applied | None = None


def _carry_out(
    known: _Known, plan: Callable[[Look], _Step], now_s: float, *, local: bool, force: bool, dry_run: bool
) -> _CarriedOut:
    """Look, guard and change. Orders that others give meanwhile are looked at, and guarded against, anew."""
    with _books(known, local=local) as books:
        for _ in range(RACES_MAX):
            look = books.book.look(now_s)
            step = plan(look)
            before, after = books.effective(look.overrides, now_s), books.effective(step.after, now_s)
            effects = tuple(effects_of(known.snapshot(before, now_s), after))
            backends = leaving.leaving(known.deployment.dataplane, before, after)
            if not force:
                guard(effects, step.subject)
                leaving.guard(backends)
            shadowed = books.scope == CLUSTER and any(one.subject == step.subject for one in books.others(now_s))
            done = _CarriedOut(step=step, scope=books.scope, effects=effects, shadowed=shadowed, leaving=backends)
            if dry_run:
                return done
            facts = facts_now(known.state)
            if step.change(books.book):
                break
        else:
            raise StoreError("others change orders at the same time, again and again; nothing was changed: try again")
    return done if shadowed else replace(done, applied=await_revision(known.state, facts, WAIT_S, step.includes))


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
