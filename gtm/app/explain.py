"""Why a client gets its answer: the decision's own functions over a node's own tables, with every step kept.

Nothing here decides: steering, choosing and rings are those that the served answers were compiled with.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from struct import pack

import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from gtm.answer.authority_lookup import Answer
from gtm.answer.client import Located
from gtm.answer.compile import make_ring
from gtm.answer.pick import STEP_S, seed_at, slot
from gtm.app.history import past
from gtm.app.question import Question, client_of, name_of, near, regions_of, rtype_of
from gtm.app.rtt_places import asn_of
from gtm.app.rtt_shown import MeasuredLevel, address_of, falls_back, measured_for
from gtm.app.scene import Scene, scene_of_folder, scene_of_state
from gtm.app.whereabouts import Whereabouts, whereabouts
from gtm.decide.choose import Choice, RType
from gtm.decide.explain import Candidate, TriedRule
from gtm.decide.explain import explain as explain_choice
from gtm.decide.plan import active, plan_pool
from gtm.decide.ring import ring
from gtm.decide.steer import distance_km, matching_rule, order_for
from gtm.geo.space import PlaceSpace
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import AskedError
from gtm.model.name import SteeredName
from gtm.model.override import Action, Override, Subject
from gtm.model.place import Place
from gtm.model.plan import PoolPlan
from gtm.model.pool import Instance
from gtm.web.document import as_object
from gtm.wire import name as wire_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStep:
    """A region as this client sees it, in the order of preference; regions outside its order come last."""

    region: str
    distance_km: float | None
    taken: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Which region answers (None: none does), and which case of `choose` that was."""

    region: str | None
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The slot of the weighted ring that this client's network has, until when (seconds since the epoch)."""

    number: int
    size: int
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One answer with everything that led to it. `kind` is "steered" or "static"; a static answer has `records` only.

    answer      what this client is told now; where the slot cannot be known, everything that it may be told
    answers     the most instances in one answer
    class_id    the client's class; `scope` the ECS scope of the answer, in bits; both None for a country or subdivision
    ttl_reason  why the TTL is what it is, of a name that has a range of them
    rcode       of a static answer
    at_s        the moment in the past that this is about, in seconds since the epoch; None for now
    measured    where the rule goes by round-trip time: what is known of it now for this client, by level
    """

    kind: str
    name: str
    rtype: str
    client: str
    down: tuple[str, ...]
    zone: str
    revision: int
    live: bool
    notes: tuple[str, ...]
    place: Place | None = None
    place_from: str | None = None
    class_id: int | None = None
    scope: int | None = None
    pool: str | None = None
    ttl_s: int | None = None
    ttl_reason: str | None = None
    answers: int | None = None
    rules: tuple[TriedRule, ...] = ()
    regions: tuple[RegionStep, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    choice: Outcome | None = None
    slot: Slot | None = None
    answer: tuple[str, ...] = ()
    rcode: str | None = None
    records: tuple[str, ...] = ()
    at_s: float | None = None
    measured: tuple[MeasuredLevel, ...] = ()


def explain_folder(folder: Path, question: Question) -> Explained:
    """The explanation, from the node of a deployment folder, or from its files where none has run."""
    return explained(scene_of_folder(folder), question, time.time())


def explain_past(folder: Path, question: Question, *, revision: int | None, at_s: float | None) -> Explained:
    """The explanation of a past answer: at a revision, as it began, or at a moment. Raises as `past` does."""
    then = past(folder, revision=revision, at_s=at_s)
    return replace(explained(then.scene, question, then.at_s), at_s=then.at_s)


def document(state: Path, question: Question) -> dict[str, object]:
    """The explanation's document, from a state folder. Raises AskedError for a question that makes no sense."""
    return explain_document(explained(scene_of_state(state), question, time.time()))


def explain_document(told: Explained) -> dict[str, object]:
    """An explanation as JSON: what `gtm explain --json` prints and /api/v1/explain returns."""
    return as_object(told)


def explained(scene: Scene, question: Question, now_s: float) -> Explained:
    """The explanation of one question at `now_s`. Raises AskedError."""
    qname = name_of(question.name)
    rtype = rtype_of(question.rtype)
    asker = client_of(question.client)
    down = regions_of(question.down, scene.deployment.regions)
    numbers: list[int] = []

    def choose(number: int) -> bytes:
        numbers.append(number)
        return b""

    found = scene.authority.lookup(qname, rtype, choose)
    zone = zone_of(qname, scene)
    told = Explained(
        kind="static",
        name=wire_name.render(qname),
        rtype=dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype)),
        client=str(asker),
        down=down,
        zone=zone,
        revision=scene.decision.plan.revision,
        live=scene.live,
        notes=scene.notes,
    )
    steered = steered_name(scene, qname, rtype, numbers)
    if steered is not None:
        explanation = _steered(scene, told, *steered, asker, now_s, _rrs(found))
        return explanation if numbers else without_type(explanation)
    return _static(told, found, scene)


def without_type(told: Explained) -> Explained:
    """The explanation of a steered name that has nothing of the type: whatever is up, the answer is empty."""
    return replace(
        told,
        choice=Outcome(region=None, rule=f"the name has no {told.rtype} data"),
        regions=tuple(replace(step, taken=False) for step in told.regions),
        scope=None if told.scope is None else 0,
        slot=None,
        answer=(),
    )


def zone_of(qname: bytes, scene: Scene) -> str:
    """The zone that the name is looked for in. Raises AskedError if it is in none of the served ones."""
    for suffix in wire_name.suffixes(qname.lower()):
        origin = wire_name.render(suffix)
        if origin in scene.deployment.zone_files:
            return origin
    raise AskedError(
        f"{wire_name.render(qname)} is in none of the {len(scene.deployment.zone_files)} served zones",
        argument="name",
        known=_similar(qname, scene),
    )


def _similar(qname: bytes, scene: Scene) -> tuple[str, ...]:
    return near(wire_name.render(qname), (name.owner for name in scene.deployment.names[:5000]))


def steered_name(scene: Scene, qname: bytes, rtype: int, numbers: list[int]) -> tuple[SteeredName, RType] | None:
    """The steered name and type that answer, if the lookup came to one; also a steered name that lacks the type.

    Names that steer alike share a set; the one asked for is taken where it is among them, else a wildcard above it.
    """
    asked = wire_name.render(qname).lower()
    if not numbers:
        own = next((name for name in scene.deployment.names if name.owner == asked), None)
        return None if own is None or rtype not in set(RType) else (own, RType(rtype))
    sharing = [
        (name, kind)
        for name in scene.deployment.names
        for kind in RType
        if scene.numbers.get(wire_name.parse(name.owner).lower() + pack(">HH", kind, 1)) == numbers[-1]
    ]
    above = {"*." + wire_name.render(suffix) for suffix in wire_name.suffixes(qname.lower())}
    return min(sharing, key=lambda one: (one[0].owner != asked, one[0].owner not in above), default=None)


# Static


def _static(told: Explained, found: Answer | None, scene: Scene) -> Explained:
    if found is None:
        raise AskedError(f"{told.name} has no answer in zone {told.zone}", argument="name")
    rcode = dns.rcode.to_text(dns.rcode.Rcode.make(found.rcode))
    if found.rcode == dns.rcode.NXDOMAIN:
        file = scene.deployment.zone_files[told.zone]
        raise AskedError(
            f"{told.name} does not exist in zone {told.zone} ({file})",
            argument="name",
            known=_similar(name_of(told.name), scene),
        )
    records = _rrs(found)
    if records:
        note = "A static name: every client gets the same records."
    elif not found.authoritative:
        note = "Delegated: the answer refers to other name servers."
        records = _texts((rrs.owner, rrs.rtype, rrs.ttl_s, rrs.rdatas) for rrs in found.authority)
    else:
        note = f"The name exists but has no {told.rtype} data: the answer is empty."
    return replace(told, rcode=rcode, records=records, notes=(*told.notes, note))


def _rrs(found: Answer | None) -> tuple[str, ...]:
    return () if found is None else _texts((rrs.owner, rrs.rtype, rrs.ttl_s, rrs.rdatas) for rrs in found.answer)


def _texts(rrsets: Iterable[tuple[bytes, int, int, tuple[bytes, ...]]]) -> tuple[str, ...]:
    return tuple(
        f"{wire_name.render(owner)} {ttl_s} IN {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))} "
        f"{dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata)).to_text()}"
        for owner, rtype, ttl_s, rdatas in rrsets
        for rdata in rdatas
    )


# Steered


def _steered(
    scene: Scene,
    told: Explained,
    name: SteeredName,
    rtype: RType,
    asker: IPAddress | IPNetwork | str,
    now_s: float,
    aliases: tuple[str, ...],
) -> Explained:
    deployment = scene.deployment
    pool = planned(scene, name.pool, told.down, now_s)
    client = whereabouts(scene, asker)
    why = explain_choice(name, pool, client.locus, deployment.regions, rtype)
    picked = pick(scene, name, why.choice, rtype, client, now_s)
    at = client.place.coordinates
    reasons = {one.region: (one.taken, one.reason) for one in why.considered}
    rest = [region for region in deployment.regions if region not in why.order]
    notes = [*told.notes, *client.notes]
    by_rtt = matching_rule(name.policy, client.locus).order.rtt
    measured, fallback = _measured(scene, asker, client) if by_rtt else ((), None)
    if fallback is not None:
        notes.append(fallback)
    # By time, a place and the times of another network of its class may make an order that neither has.
    if (
        not by_rtt
        and order_for(name.policy, replace(client.locus, place=client.place), deployment.regions) != why.order
    ):
        notes.append("This network is too small a part of its /24 to have a class of its own: the /24's decides.")
    if told.name.lower() != name.owner:
        notes.append(f"Answered as {name.owner}, which is the steered name.")
    return replace(
        told,
        kind="steered",
        notes=tuple(notes),
        place=client.place,
        place_from=client.origin,
        class_id=None if client.located is None else client.located.class_,
        scope=None if client.located is None else scope(scene, name, pool, rtype, client.located),
        pool=name.pool,
        ttl_s=why.ttl_s,
        ttl_reason=why.ttl_reason,
        answers=1 if rtype is RType.CNAME else name.answers,
        rules=why.rules,
        regions=tuple(
            RegionStep(
                region=region,
                distance_km=None if at is None else round(distance_km(at, deployment.regions[region].coordinates), 1),
                taken=region == why.choice.region,
                reason=_reason(region, why.choice, reasons, rest),
            )
            for region in (*why.order, *rest)
        ),
        candidates=why.candidates,
        choice=Outcome(region=why.choice.region, rule=why.choice.rule),
        measured=measured,
        slot=picked[0],
        answer=picked[1],
        records=aliases,
    )


def _measured(
    scene: Scene, asker: IPAddress | IPNetwork | str, client: Whereabouts
) -> tuple[tuple[MeasuredLevel, ...], str | None]:
    """What is known of a client's round-trip times, and why they do not decide, where they do not."""
    settings = scene.deployment.rtt
    if settings is None:
        return (), None
    if scene.rtt is None:
        return (), "rtt falls back to nearest: the node has kept no round-trip times yet"
    address = None if isinstance(asker, str) else address_of(asker)
    place = client.place
    if address is not None and place.asn is None and isinstance(scene.places, PlaceSpace):
        place = replace(place, asn=asn_of(scene.places.databases, address))
    levels = measured_for(scene.rtt, address, place, settings, time.time())
    return levels, falls_back(levels, settings)


def _reason(region: str, choice: Choice, reasons: dict[str, tuple[bool, str]], rest: list[str]) -> str:
    if region in rest:
        return "not in this client's order"
    taken, reason = reasons.get(region, (False, "not needed: an earlier region answers"))
    if region == choice.region and not taken:
        return f"{reason}; taken by {choice.rule}"
    return reason


def planned(scene: Scene, pool: str, down: tuple[str, ...], now_s: float) -> PoolPlan:
    """The pool as it is, or as it would be planned were some regions down."""
    current = scene.decision.plan.pools[pool]
    if not down:
        return current
    orders = tuple(
        Override(
            subject=Subject(kind="region", name=region),
            action=Action.FORCE_DOWN,
            owner="--down",
            reason="as though it were down",
            since_s=now_s,
        )
        for region in down
    )
    snapshot = scene.decision.snapshot
    return plan_pool(scene.deployment.pools[pool], snapshot, (*active(snapshot), *orders), current)


def pick(
    scene: Scene, name: SteeredName, choice: Choice, rtype: RType, client: Whereabouts, now_s: float
) -> tuple[Slot | None, tuple[str, ...]]:
    """The slot and what it holds; without a network to hash, or the key, everything that any slot holds."""
    labels = [_label(instance, rtype) for instance in choice.instances] or [str(each) for each in choice.fallback]
    if not labels:
        return None, ()
    weights = tuple(instance.weight for instance in choice.instances) or (1,) * len(labels)
    slots = ring(weights, 1 if rtype is RType.CNAME else name.answers)
    if client.located is None or scene.key is None:
        return None, tuple(labels)
    number = slot(client.located.net, seed_at(scene.key, now_s), len(slots))
    until_s = float((now_s // STEP_S + 1) * STEP_S)
    return Slot(number=number, size=len(slots), until_s=until_s), tuple(labels[each] for each in slots[number])


def _label(instance: Instance, rtype: RType) -> str:
    match rtype:
        case RType.A:
            return str(instance.a)
        case RType.AAAA:
            return str(instance.aaaa)
        case RType.CNAME:
            return str(instance.cname)


def scope(scene: Scene, name: SteeredName, pool: PoolPlan, rtype: RType, located: Located) -> int:
    """The ECS scope of the answer: 0 where every client gets the same (RFC 7871 section 7.2.1)."""
    orders, rings = set(), set()
    for locus in scene.classes.loci:
        order = order_for(name.policy, locus, scene.deployment.regions)
        if order not in orders:
            orders.add(order)
            rings.add(make_ring(name, pool, order, rtype))
            if len(rings) > 1:
                return located.scope
    return 0
