"""A dry run of announcements: what stands now if all is well, and step by step what a drain or a fault comes to.

The functions that decide are those that decide when it is real. Times are the longest: connections that a rung waits
for are taken to stay until its deadline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.app.announce.follow import drain_of
from gtm.app.announce.vrps import Validator
from gtm.app.announce.words import attributes_words, provider_of
from gtm.app.people import subject_of
from gtm.app.question import near
from gtm.config.deployment import ANYCAST_FILE, load
from gtm.decide.announce.guard import barred, not_allowed
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.routes import routes
from gtm.decide.announce.rpki import Validity
from gtm.decide.announce.sight import OtherSpeaker, Permit, Sight
from gtm.decide.announce.step import step
from gtm.decide.announce.wish import Wish
from gtm.decide.health import fold
from gtm.model.address import IPNetwork
from gtm.model.anycast import Anycast, Phase, RpkiMode, Service, Speaker
from gtm.model.check import Check, Target
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError
from gtm.model.health import Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.web.document import as_object

STEPS_MAX = 200
ENDS = frozenset({Phase.DRAINED, Phase.DOWN, Phase.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRoute:
    """A route to a neighbour, with its attributes in words."""

    neighbour: str
    address: str
    prefix: IPNetwork
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """What stands from `at_s` on, in seconds after the order or the verdict. `addresses`: they are on the interface."""

    at_s: float
    phase: Phase
    rung: str | None
    reason: str
    announcing: bool
    addresses: bool
    routes: tuple[PlannedRoute, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRpki:
    """What RPKI says of a prefix as the speaker originates it, and the VRPs that cover it."""

    prefix: IPNetwork
    validity: Validity
    covering: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAnnouncement:
    """A service at a speaker: its steps, the first as it stands now; why the guard refuses to announce it at all."""

    node: str
    region: str
    service: str
    steps: tuple[PlannedStep, ...]
    refused: str | None
    warnings: tuple[str, ...]
    rpki: tuple[PlannedRpki, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRegion:
    """How many speakers of a region announce a service before and after, and the region's share of all traffic."""

    service: str
    region: str
    share: float | None
    speakers_before: int
    speakers_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A dry run of `what`; `share_moved` is the share of regions that announce something no more (None: not known).

    `notes` say what was taken to be so.
    """

    what: str
    announcements: tuple[PlannedAnnouncement, ...]
    regions: tuple[PlannedRegion, ...]
    share_moved: float | None
    notes: tuple[str, ...]


def plan(folder: Path, *, node: str | None = None, drain: str | None = None, down: str | None = None) -> Planned:
    """The dry run of a deployment's announcements: as they are, under a drain, or with a service's checks DOWN.

    `node` is the speaker to look at; without it those that are concerned, of a fault this node or else the first that
    there is. Raises ConfigErrors, AskedError, GtmError.
    """
    deployment = load(folder)
    anycast = deployment.anycast
    if anycast is None:
        raise GtmError(f"{folder / ANYCAST_FILE}: there is no such file, so nothing is announced")
    order = None if drain is None else _order(subject_of(drain, deployment))
    if down is not None and down not in anycast.services:
        raise AskedError(f"there is no service {down[:80]!r}", argument="--down", known=near(down, anycast.services))
    if node is not None and node not in anycast.speakers:
        raise AskedError(f"there is no speaker {node[:80]!r}", argument="--node", known=near(node, anycast.speakers))
    validator = Validator(anycast.guard, folder)
    validator.look()
    faulty = _faulty(deployment, anycast, node, down)
    world = _World(deployment, anycast, validator, order, faulty, down)
    every = tuple(world.planned(speaker, service) for speaker, service in world.pairs())
    shown = tuple(one for one in every if _is_shown(one, node, concerned=order is not None or down is not None))
    regions = tuple(_regions(deployment, every))
    return Planned(
        what=f"drain {order.subject}" if order is not None else f"down {down} at {faulty}" if down else "as it is",
        announcements=shown,
        regions=regions,
        share_moved=_moved(regions),
        notes=tuple(_notes(world, validator)),
    )


def plan_document(planned: Planned) -> dict[str, object]:
    """A dry run as JSON."""
    return as_object(planned)


def _order(subject: Subject) -> Override:
    return Override(subject=subject, action=Action.DRAIN, owner="you", reason="dry run", since_s=0.0)


def _faulty(deployment: Deployment, anycast: Anycast, node: str | None, down: str | None) -> str | None:
    """The speaker at which a service is taken to be down."""
    if down is None:
        return None
    serving = [one.node for one in anycast.speakers.values() if one.region in anycast.services[down].regions]
    wanted = node or (deployment.node.name if deployment.node.name in serving else None)
    if wanted is not None and wanted not in serving:
        raise AskedError(f"{wanted} does not announce {down}", argument="--node", known=serving[:3])
    if not serving:
        raise AskedError(f"no speaker announces {down}", argument="--down")
    return wanted or serving[0]


def _is_shown(one: PlannedAnnouncement, node: str | None, *, concerned: bool) -> bool:
    if node is not None:
        return one.node == node
    return not concerned or len(one.steps) > 1


class _World:
    """All speakers with everything well, but for one change."""

    def __init__(
        self,
        deployment: Deployment,
        anycast: Anycast,
        validator: Validator,
        order: Override | None,
        faulty: str | None,
        down: str | None,
    ) -> None:
        self.deployment = deployment
        self.anycast = anycast
        self._validator = validator
        self._order = order
        self._faulty = faulty
        self._down = down
        self._wall_s = time.time()
        self.stored = deployment.node.cluster is not None

    def pairs(self) -> Iterator[tuple[Speaker, Service]]:
        """Every speaker with every service that it may announce."""
        for speaker in self.anycast.speakers.values():
            for service in self.anycast.served_by(speaker):
                yield speaker, service

    def planned(self, speaker: Speaker, service: Service) -> PlannedAnnouncement:
        """A service's steps at a speaker."""
        verdicts = self._validator.verdicts(speaker, service, self._wall_s)
        steady = self._sight(speaker, service, verdicts, bad=False, drain=None)
        memory, wish = step(self.anycast, speaker, service, Memory.initial(), steady)
        steps = [self._step(speaker, service, wish, 0.0)]
        drain = self._drain(speaker, service)
        bad = self._faulty == speaker.node and self._down == service.name
        if drain is not None or bad:
            steps += self._change(speaker, service, memory, verdicts, bad=bad, drain=drain)
        covering = self._validator.covering(speaker, service, self._wall_s)
        forbidden = next(
            (why for one in service.prefixes if (why := not_allowed(self.anycast.guard, one)) is not None), None
        )
        return PlannedAnnouncement(
            node=speaker.node,
            region=speaker.region,
            service=service.name,
            steps=tuple(steps),
            refused=forbidden or barred(self.anycast, service, steady),
            warnings=wish.warnings,
            rpki=tuple(
                PlannedRpki(prefix=prefix, validity=validity, covering=covering.get(prefix, ()))
                for prefix, validity in verdicts.items()
            ),
        )

    def _drain(self, speaker: Speaker, service: Service) -> Override | None:
        return None if self._order is None else drain_of((self._order,), speaker, service, 0.0)

    def _change(
        self,
        speaker: Speaker,
        service: Service,
        memory: Memory,
        verdicts: Mapping[IPNetwork, Validity],
        *,
        bad: bool,
        drain: Override | None,
    ) -> Iterator[PlannedStep]:
        """The steps after the change; the store gives its permit as soon as it is wanted."""
        now_s, permit, last = 0.0, Permit.NONE, None
        for _ in range(STEPS_MAX):
            sight = self._sight(speaker, service, verdicts, bad=bad, drain=drain, now_s=now_s, permit=permit)
            memory, wish = step(self.anycast, speaker, service, memory, sight)
            if wish.wants_permit and permit is Permit.NONE and self.stored:
                permit = Permit.HELD
                continue
            made = self._step(speaker, service, wish, now_s)
            what = (made.phase, made.rung, made.announcing, made.addresses)
            if what != last:
                last = what
                yield made
            if wish.phase in ENDS or wish.wake_s is None:
                return
            now_s = max(wish.wake_s, now_s + 0.001)

    def _sight(
        self,
        speaker: Speaker,
        service: Service,
        verdicts: Mapping[IPNetwork, Validity],
        *,
        bad: bool,
        drain: Override | None,
        now_s: float = 0.0,
        permit: Permit = Permit.NONE,
    ) -> Sight:
        others = tuple(
            OtherSpeaker(
                node=one.node,
                region=one.region,
                fresh=True,
                announcing=True,
                leaving=drain is not None and self._drain(one, service) is not None,
            )
            for one in self.anycast.speakers.values()
            if one.node != speaker.node and one.region in service.regions
        )
        return Sight(
            now_s=now_s,
            local={target: _judged(target, check, bad=bad) for target, check in service.local.items()},
            region_up=None if service.pool is None else True,
            drain=drain,
            others=others if self.stored else (),
            store=True if self.stored else None,
            told=self.stored,
            permit=permit,
            rpki=verdicts,
        )

    def _step(self, speaker: Speaker, service: Service, wish: Wish, at_s: float) -> PlannedStep:
        neighbours = {one.address: one for one in speaker.neighbours}
        return PlannedStep(
            at_s=round(at_s, 3),
            phase=wish.phase,
            rung=wish.rung,
            reason=wish.reason,
            announcing=wish.announce,
            addresses=wish.address,
            routes=tuple(
                PlannedRoute(
                    neighbour=neighbours[route.neighbour].name,
                    address=str(route.neighbour),
                    prefix=route.prefix,
                    attributes=attributes_words(
                        route.attributes, provider_of(self.anycast, neighbours[route.neighbour])
                    ),
                )
                for route in routes(self.anycast, speaker, service, wish)
            ),
        )


def _judged(target: Target, check: Check, *, bad: bool) -> Judgement:
    """The judgement of a check that has been good, or has then failed until it was DOWN."""
    found = Judgement()
    results = [True] * (check.cadence.rise + 1) + [False] * (check.cadence.fall if bad else 0)
    for second, ok in enumerate(results):
        detail = "" if ok else f"{target.check} fails"
        found = fold(found, Result(at_s=float(second), ok=ok, took_s=0.0, detail=detail), check.cadence)
    return found


def _regions(deployment: Deployment, every: tuple[PlannedAnnouncement, ...]) -> Iterator[PlannedRegion]:
    for service, region in dict.fromkeys((one.service, one.region) for one in every):
        mine = [one for one in every if (one.service, one.region) == (service, region)]
        yield PlannedRegion(
            service=service,
            region=region,
            share=deployment.regions[region].share,
            speakers_before=sum(one.steps[0].announcing for one in mine),
            speakers_after=sum(one.steps[-1].announcing for one in mine),
        )


def _moved(regions: tuple[PlannedRegion, ...]) -> float | None:
    lost = {one.region: one.share for one in regions if one.speakers_before and not one.speakers_after}
    known = [share for share in lost.values() if share is not None]
    return None if len(known) < len(lost) else round(sum(known), 4)


def _notes(world: _World, validator: Validator) -> Iterator[str]:
    if world.stored:
        yield "the shared store answers, all other speakers announce, and nobody else has left within the window"
    else:
        yield f"no shared store: guard.without_store is {world.anycast.guard.without_store}"
    problem = validator.problem(time.time())
    if problem is not None:
        yield f"RPKI is not asked: {problem}"
    elif world.anycast.guard.rpki is RpkiMode.OFF:
        yield "RPKI is not asked: guard.rpki is off"
