"""An explanation of a prefix as text: what `gtm explain prefix` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.columns import clean, columns, duration
from gtm.app.explain_prefix import ExplainedPrefix, ExplainedSpeaker

FACTS = {None: "not known", True: "yes", False: "no"}


def prefix_text(told: ExplainedPrefix) -> str:
    """Several lines, without a newline at the end."""
    return "\n".join(_lines(told))


def _lines(told: ExplainedPrefix) -> Iterator[str]:
    within = "" if told.asked == told.declared else f" (in {told.declared})"
    together = ", ".join(str(prefix) for prefix in told.prefixes if prefix != told.declared)
    yield f"{told.asked}{within}: service {told.service}" + (f", together with {together}" if together else "")
    announcing = [one for one in told.speakers if one.announcing]
    regions = dict.fromkeys(one.region for one in announcing)
    yield from columns(
        (
            ("announced from", ", ".join(regions) or "nowhere that is known"),
            ("may be", f"from {', '.join(told.regions)}"),
            *((("permit to leave", told.permit),) if told.permit else ()),
        )
    )
    yield from (f"  note  {clean(note)}" for note in told.notes)
    if told.here is not None:
        yield ""
        here = told.here
        yield f"here {here.phase} for {duration(max(0.0, told.now_s - here.since_s))}: {clean(here.reason)}"
        if here.rung is not None:
            left = f", then {', '.join(here.rungs_left)}" if here.rungs_left else ""
            eta = "" if here.eta_s is None else f", {duration(here.eta_s)} at most"
            yield f"  on the ladder at {here.rung}{left}{eta}"
    for route in told.routes:
        yield ""
        yield f"to {route.neighbour} ({route.address}), for {duration(max(0.0, told.now_s - route.since_s))}"
        by = "" if route.seen_by is None else f" (by {route.seen_by})"
        yield from columns(
            (
                ("wished", FACTS[route.wished]),
                ("accepted", FACTS[route.accepted]),
                ("on the wire", FACTS[route.on_wire]),
                ("seen by the peer", FACTS[route.seen] + by),
                *(("with", each) for each in route.attributes),
            )
        )
    yield ""
    yield "speakers"
    yield from columns(
        (_speaker(told, one) for one in told.speakers), heads=("NODE", "REGION", "STATE", "ANNOUNCES", "SINCE")
    )


def _speaker(told: ExplainedPrefix, one: ExplainedSpeaker) -> tuple[str, ...]:
    leaving = ", wants to leave" if one.leaving else ""
    return (
        one.node + (" (here)" if one.here else ""),
        one.region,
        "-" if one.phase is None else str(one.phase),
        FACTS[one.announcing] + leaving,
        "-" if one.since_s is None else duration(max(0.0, told.now_s - one.since_s)),
    )
