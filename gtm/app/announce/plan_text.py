"""A dry run of announcements as text: what `gtm announce plan` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.announce.plan import Planned, PlannedAnnouncement, PlannedStep
from gtm.app.columns import clean, columns, percent


def plan_text(planned: Planned) -> str:
    """Several lines, without a newline at the end."""
    return "\n".join(_lines(planned))


def _lines(planned: Planned) -> Iterator[str]:
    yield f"dry run: {planned.what}"
    yield from (f"  note  {clean(note)}" for note in planned.notes)
    for one in planned.announcements:
        yield ""
        yield from _announcement(one)
    yield ""
    yield "speakers that announce, before and after"
    yield from columns(
        (
            (
                one.service,
                one.region,
                "-" if one.share is None else percent(one.share),
                str(one.speakers_before),
                str(one.speakers_after),
            )
            for one in planned.regions
        ),
        heads=("SERVICE", "REGION", "SHARE", "BEFORE", "AFTER"),
    )
    if planned.share_moved is None:
        yield "regions leave whose share of traffic is not known"
    elif planned.share_moved:
        yield f"{percent(planned.share_moved)} of traffic is to find another PoP; which one, routers decide"
    else:
        yield "no region leaves"


def _announcement(one: PlannedAnnouncement) -> Iterator[str]:
    yield f"{one.service} at {one.node} in {one.region}"
    if one.refused is not None:
        yield f"  refused: {one.refused}"
    yield from (f"  warning: {warning}" for warning in one.warnings)
    for each in one.rpki:
        covered = f" ({'; '.join(each.covering)})" if each.covering else ""
        yield f"  RPKI: {each.prefix} {each.validity}{covered}"
    before: PlannedStep | None = None
    for step in one.steps:
        when = "now" if before is None else f"after {step.at_s:g} s"
        rung = f" {step.rung}" if step.rung else ""
        yield f"  {when}: {step.phase}{rung}, {_state(step)}: {clean(step.reason)}"
        if before is None or before.routes != step.routes:
            yield from columns(
                ((f"to {route.neighbour}", str(route.prefix), ", ".join(route.attributes)) for route in step.routes),
                indent=4,
            )
        before = step


def _state(step: PlannedStep) -> str:
    addresses = "" if step.addresses else ", addresses removed"
    return ("announced" if step.announcing else "not announced") + addresses
