"""Which order of regions measured times prefer, such that noise never flips it: a dead band and a minimum dwell.

A region comes before another one only by being better by more than the band, `max(band_share x time, band_s)`, than
the one that has the place; and what is preferred for a key changes at most once in `dwell_s`. The times in a preference
are those of its last change, renewed when one has moved by more than DRIFT_BANDS bands: equal preferences mean that
nothing needs to be worked out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gtm.decide.rtt import Key, Levels, Regional, warm
from gtm.decide.steer import MEASURED_MIN
from gtm.model.address import IPNetwork
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSettings

DRIFT_BANDS = 2.0
STEP_S = 0.0001  # times are rounded to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """The measured regions in the order that is preferred, with their times, since when, and of how many samples."""

    rtts: tuple[tuple[str, float], ...]
    since_s: float
    samples: int = 0

    @property
    def order(self) -> tuple[str, ...]:
        """The regions alone."""
        return tuple(region for region, _ in self.rtts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """All preferences, by network, AS and country."""

    by_key: Mapping[Key, Preference] = field(default_factory=dict)

    def at(self, place: Place, network: IPNetwork | None = None) -> tuple[Key, Preference] | None:
        """The most specific one for a client in `place`, where `network` is the innermost one with a preference."""
        keys: list[Key] = [] if network is None else [network]
        if place.asn is not None:
            keys.append(Asn(asn=place.asn))
        if place.country is not None:
            keys.append(Country(code=place.country))
        return next(((key, found) for key in keys if (found := self.by_key.get(key)) is not None), None)

    def networks(self) -> tuple[IPNetwork, ...]:
        """The networks among the keys, those with the most samples first."""
        found = [key for key in self.by_key if not isinstance(key, Asn | Country)]
        return tuple(sorted(found, key=lambda key: (-self.by_key[key].samples, key.version, key)))

    def asns(self) -> frozenset[int]:
        """The AS numbers among the keys."""
        return frozenset(key.asn for key in self.by_key if isinstance(key, Asn))


NO_PREFERENCES = Preferences()


def prefer(previous: Preferences, estimates: Levels, settings: RttSettings, now_s: float) -> Preferences:
    """The preferences now; the very object `previous` where none of them changed.

    A key needs two warm regions. Whatever is to change, an order, a time, or the end of a preference, waits until
    `dwell_s` have passed since the key's last change; `now_s` before that change (a clock was set back) begins
    the dwell anew, so that it is never longer than `dwell_s` from then on.
    """
    found: dict[Key, Preference] = {}
    changed = False
    for key, regions in estimates.items():
        before = previous.by_key.get(key)
        after = _one(before, regions, settings, now_s)
        if after is not None:
            found[key] = after
        changed = changed or after is not before
    for key, before in previous.by_key.items():
        if key not in found and (kept := _one(before, {}, settings, now_s)) is not None:
            found[key] = kept
            changed = changed or kept is not before
    if not changed and len(found) == len(previous.by_key):
        return previous
    return Preferences(by_key=found)


def _one(before: Preference | None, regions: Regional, settings: RttSettings, now_s: float) -> Preference | None:
    """One key's preference."""
    if before is not None:
        if before.since_s > now_s:
            return Preference(rtts=before.rtts, since_s=now_s, samples=before.samples)
        if now_s - before.since_s < settings.dwell_s:
            return before
    times = {name: one.rtt_s for name, one in regions.items() if warm(one, settings, now_s)}
    if len(times) < MEASURED_MIN:
        return None
    order = ranked(() if before is None else before.order, times, settings)
    if before is not None and order == before.order and not _drifted(before, times, settings):
        return before
    rtts = tuple((name, round(round(times[name] / STEP_S) * STEP_S, 6)) for name in order)
    return Preference(rtts=rtts, since_s=now_s, samples=sum(regions[name].samples for name in times))


def ranked(previous: Sequence[str], times: Mapping[str, float], settings: RttSettings) -> tuple[str, ...]:
    """The regions of `times` in `previous` order, but where a later one beats one before it by more than the band.

    New ones come in by their times. No region in the result has one behind it that is better by more than the band.
    """
    left = [name for name in previous if name in times]
    for name in sorted(times.keys() - set(left), key=lambda each: (times[each], each)):
        place = next((i for i, other in enumerate(left) if times[name] < times[other]), len(left))
        left.insert(place, name)
    order = []
    while left:
        best = min(left, key=lambda each: times[each])
        if times[best] >= times[left[0]] - band_s(times[left[0]], settings):
            best = left[0]
        order.append(best)
        left.remove(best)
    return tuple(order)


def band_s(rtt_s: float, settings: RttSettings) -> float:
    """How much better than `rtt_s` a region must be to take the place."""
    return max(settings.band_share * rtt_s, settings.band_s)


def _drifted(before: Preference, times: Mapping[str, float], settings: RttSettings) -> bool:
    return any(abs(times[name] - rtt_s) > DRIFT_BANDS * band_s(rtt_s, settings) for name, rtt_s in before.rtts)
