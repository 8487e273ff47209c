"""Orders of people as text: what `gtm drain` and its like print."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.announce.moved import MovedAnnouncement
from gtm.app.columns import clean, columns, duration, moment, percent
from gtm.app.people import CLUSTER, Done, Effect, Listing
from gtm.app.status_text import orders
from gtm.model.override import Action
from gtm.store.overrides import AuditEntry


def order_text(done: Done) -> str:
    """What was done, what that changes, and whether it is in force."""
    return "\n".join(_order(done))


def _order(done: Done) -> Iterator[str]:
    what = f"take back {done.replaced.action}" if done.what == "remove" and done.replaced else done.what
    until = "" if done.until_s is None else f" until {moment(done.until_s)}"
    reason = "" if done.reason is None else f": {clean(done.reason)}"
    yield f"{'would ' if done.dry_run else ''}{what} {done.subject}, by {clean(done.owner)}{until}{reason}"
    if done.replaced is not None and done.what != "remove":
        yield f"  in place of {done.replaced.action} by {clean(done.replaced.owner)}: {clean(done.replaced.reason)}"
    if done.scope == CLUSTER:
        yield "  for all nodes that share the store"
    if done.shadowed:
        yield "  changes nothing here: this node has an order of its own for it (`gtm overrides --local`)"
    elif not done.effects:
        yield "  changes no answer now"
    yield from columns((effect.pool, *_effect(effect)) for effect in done.effects)
    yield from _announcements(done.announcements)
    for one in done.backends:
        keeps = f"it keeps its own for {duration(one.drain_s)}"
        yield f"  {one.service}/{one.backend} ({one.address}) takes no new flows; {keeps}"
        for left in one.left:
            yield f"    in {left.region} new flows go to {', '.join(left.backends) or 'nobody'}"
    if done.backends and not done.dry_run:
        yield "  `gtm balance drains` on an instance shows how far that has come"
    if done.backends and not done.dry_run:
        yield "  how far that is: gtm balance drains, on an instance"
    if done.applied is not None:
        yield done.applied.text()


def _announcements(moved: tuple[MovedAnnouncement, ...]) -> Iterator[str]:
    """The ladder that announcements go down, and how long that takes."""
    for one in moved:
        whose = ", ".join(one.speakers)
        yield f"  announcement of {one.service} ({', '.join(map(str, one.prefixes))}) by {whose} goes down the ladder:"
        for step in one.steps:
            longest = "no deadline" if step.longest_s is None else duration(step.longest_s)
            yield f"    {step.rung}  {step.what}, at most {longest}"
        ends = "when its connections are gone" if one.withdrawn_s is None else f"in {duration(one.withdrawn_s)} at most"
        yield f"    withdrawn {ends}"
        if one.last:
            yield "    no other region may announce it: it is HELD there instead of being withdrawn"


def _effect(effect: Effect) -> tuple[str, str]:
    moved = "traffic moves" if effect.share_moved is None else f"{percent(effect.share_moved)} of traffic moves"
    before, after = (", ".join(regions) or "none" for regions in (effect.before, effect.after))
    if effect.before == effect.after:
        return moved, f"regions stay {after}"
    return moved if effect.share_moved else "", f"{before} -> {after}"


def listing_text(listed: Listing) -> str:
    """The orders in force, then the past."""
    return "\n".join(_listing(listed))


def _listing(listed: Listing) -> Iterator[str]:
    where = " on all nodes that share the store" if listed.scope == CLUSTER else ""
    yield f"{'orders' if listed.overrides else 'no orders'} in force{where}"
    yield from orders(listed.overrides, listed.now_s) if listed.overrides else ()
    if listed.local:
        yield ""
        yield "orders of this node alone, which win here"
        yield from orders(listed.local, listed.now_s)
    if listed.audit:
        yield ""
        yield "ordered, newest first"
        yield from columns(
            (
                (
                    moment(entry.at_s),
                    entry.what,
                    str(entry.subject),
                    clean(entry.who),
                    _lasting(entry),
                    clean(entry.why),
                )
                for entry in listed.audit
            ),
            heads=("WHEN", "WHAT", "SUBJECT", "WHO", "LASTING", "WHY"),
        )


def _lasting(entry: AuditEntry) -> str:
    """For how long it was ordered; what ends an order lasts no time itself."""
    given = entry.what in frozenset(Action)
    return f"for {duration(entry.until_s - entry.at_s)}" if given and entry.until_s is not None else "-"
