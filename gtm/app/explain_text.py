"""An explanation as text: what `gtm explain` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gtm.app.columns import clean, columns, duration, moment
from gtm.app.explain import Explained
from gtm.app.rtt_shown import MeasuredLevel
from gtm.model.place import Place


def explain_text(told: Explained) -> str:
    """Several lines, the answer first, without a newline at the end."""
    return "\n".join(_steered(told) if told.kind == "steered" else _static(told))


def _static(told: Explained) -> Iterator[str]:
    yield f"{told.name} {told.rtype} in zone {told.zone}: {told.rcode}, revision {told.revision}"
    yield from (f"  {clean(record)}" for record in told.records)
    yield from (f"note: {note}" for note in told.notes)


def _steered(told: Explained) -> Iterator[str]:
    choice = told.choice
    region = None if choice is None else choice.region
    answer = ", ".join(told.answer) or "no data"
    if told.slot is None and told.answers is not None and len(told.answer) > told.answers:
        answer = f"{told.answers} of {answer}"
    yield f"{told.name} {told.rtype} for {told.client}: {answer} from {region or 'no region'}"
    yield from columns(_facts(told))
    yield from (f"  note  {note}" for note in told.notes)
    if told.records:
        yield ""
        yield "aliases on the way"
        yield from (f"  {clean(record)}" for record in told.records)
    yield ""
    yield "rules, until one fits"
    yield from columns(("fits" if rule.fitted else "no", rule.text) for rule in told.rules)
    yield ""
    yield "regions, in this client's order"
    yield from columns(
        (
            "->" if step.taken else "",
            step.region,
            "-" if step.distance_km is None else f"{step.distance_km:.0f} km",
            clean(step.reason),
        )
        for step in told.regions
    )
    if told.measured:
        yield ""
        yield "round-trip times, as known now"
        yield from measured_lines(told.measured)
    yield ""
    yield "instances"
    yield from columns(
        (
            "->" if one.answered else "",
            one.region,
            one.instance,
            f"weight {one.weight}",
            one.health,
            clean(one.reason),
        )
        for one in told.candidates
    )


def measured_lines(levels: Iterable[MeasuredLevel]) -> Iterator[str]:
    """What is known of round-trip times, the most specific level first."""
    yield from columns(
        (
            "->" if one.decides else "",
            one.level,
            one.key,
            ", ".join(one.preferred) or "no order",
            clean(one.reason),
        )
        for one in levels
    )
    yield from columns(
        (
            "",
            one.key,
            each.region,
            f"{each.rtt_ms:.1f} ms",
            f"+-{each.spread_ms:.1f}",
            f"{each.samples} samples",
            f"{duration(each.age_s)} old",
            "" if each.warm else "does not count",
        )
        for one in levels
        for each in one.regions
    )


def _facts(told: Explained) -> Iterator[tuple[str, str]]:
    if told.choice is not None:
        yield "because", told.choice.rule
    if told.place is not None:
        yield "place", f"{place_text(told.place)}, from {told.place_from}"
    if told.class_id is not None:
        yield "class", f"{told.class_id}, ECS scope /{told.scope}"
    slot = told.slot
    if slot is not None:
        yield "slot", f"{slot.number} of {slot.size} in the ring of weights"
    elif len(told.answer) > 1:
        yield "slot", "any: the weights decide by the client's network"
    yield "pool", f"{told.pool}, TTL {told.ttl_s} s" + (f", {told.ttl_reason}" if told.ttl_reason else "")
    yield "zone", told.zone
    if told.at_s is not None:
        yield "revision", f"{told.revision}, at {moment(told.at_s)}"
    else:
        yield "revision", f"{told.revision}" + ("" if told.live else " (nothing published)")
    if told.down:
        yield "as if", f"down: {', '.join(told.down)}"


def place_text(place: Place) -> str:
    """A place in a few words."""
    words = [word for word in (place.subdivision or place.country, place.continent) if word]
    if place.asn is not None:
        words.append(f"AS{place.asn}")
    if place.coordinates is not None:
        words.append(f"at {place.coordinates.latitude:.1f},{place.coordinates.longitude:.1f}")
    return " ".join(words) or "nowhere known"
