"""What is known of round-trip times for one client, and what of it decides: for `gtm explain` and `gtm rtt show`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from gtm.app.rtt import Kept, key_text
from gtm.decide.prefer import Preference
from gtm.decide.rtt import Key, Regional, warm
from gtm.decide.steer import MEASURED_MIN
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRegion:
    """A region's smoothed time, mean deviation, measurements, and how old the newest is; whether it may decide."""

    region: str
    rtt_ms: float
    spread_ms: float
    samples: int
    age_s: float
    warm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLevel:
    """What is known at one level, "network", "asn" or "country", of `key`; the quickest region first.

    `preferred` is the order that this level prefers, since `since_s`; empty where it has none. `decides`: it is the
    most specific level that has one. `reason` says why, or why not.
    """

    level: str
    key: str
    regions: tuple[MeasuredRegion, ...]
    preferred: tuple[str, ...]
    since_s: float | None
    decides: bool
    reason: str


def measured_for(
    kept: Kept, address: IPAddress | None, place: Place, settings: RttSettings, now_s: float
) -> tuple[MeasuredLevel, ...]:
    """The levels of a client at an address (None: a whole area) in `place`, the most specific first."""
    found: list[MeasuredLevel] = []
    for level, key, regions in _levels(kept, address, place, settings):
        preference = kept.preferences.by_key.get(key)
        decides = preference is not None and not any(one.decides for one in found)
        found.append(
            MeasuredLevel(
                level=level,
                key=key_text(key),
                regions=tuple(sorted(_regions(regions, settings, now_s), key=lambda one: one.rtt_ms)),
                preferred=() if preference is None else preference.order,
                since_s=None if preference is None else preference.since_s,
                decides=decides,
                reason=_reason(preference, regions, settings, now_s, decides=decides),
            )
        )
    return tuple(found)


def falls_back(levels: tuple[MeasuredLevel, ...], settings: RttSettings) -> str | None:
    """Why `rtt` is `nearest` for this client; None where it is not."""
    if any(one.decides for one in levels):
        return None
    best = max((sum(region.warm for region in one.regions) for one in levels), default=0)
    most = max((region.samples for one in levels for region in one.regions if not region.warm), default=0)
    short = f"; the best other one has {most} samples of {settings.samples_min}" if most else ""
    return f"rtt falls back to nearest: {best} of {MEASURED_MIN} regions are measured well enough{short}"


def network_of(address: IPAddress, settings: RttSettings) -> IPNetwork:
    """The client network around an address, as times are kept by it."""
    length = settings.prefix4 if address.version == 4 else settings.prefix6
    return ip_network(f"{address}/{length}", strict=False)


def address_of(client: IPAddress | IPNetwork) -> IPAddress:
    """The address itself, or the first one of a network."""
    return client.network_address if isinstance(client, IPv4Network | IPv6Network) else client


def _levels(
    kept: Kept, address: IPAddress | None, place: Place, settings: RttSettings
) -> Iterator[tuple[str, Key, Regional]]:
    if address is not None:
        network = network_of(address, settings)
        yield "network", network, kept.together_at(network)
    if place.asn is not None:
        asn = Asn(asn=place.asn)
        yield "asn", asn, kept.areas.get(asn, {})
    if place.country is not None:
        country = Country(code=place.country)
        yield "country", country, kept.areas.get(country, {})


def _regions(regions: Regional, settings: RttSettings, now_s: float) -> Iterator[MeasuredRegion]:
    for name, one in regions.items():
        yield MeasuredRegion(
            region=name,
            rtt_ms=round(one.rtt_s * 1000, 1),
            spread_ms=round(one.spread_s * 1000, 1),
            samples=one.samples,
            age_s=round(max(0.0, now_s - one.at_s), 1),
            warm=warm(one, settings, now_s),
        )


def _reason(
    preference: Preference | None, regions: Regional, settings: RttSettings, now_s: float, *, decides: bool
) -> str:
    if preference is None:
        ready = sum(warm(one, settings, now_s) for one in regions.values())
        if ready >= MEASURED_MIN:
            return "is measured well enough, and decides from the next look on"
        return (
            f"{ready} of {MEASURED_MIN} regions have {settings.samples_min} samples that are at most "
            f"{settings.age_max_s:g} s old"
        )
    if not decides:
        return "a more specific level decides"
    band = f"{settings.band_share * 100:g} % and {settings.band_s * 1000:g} ms"
    left_s = preference.since_s + settings.dwell_s - now_s
    wait = f"; nothing changes for another {left_s:.0f} s (dwell)" if left_s > 0 else ""
    return f"decides: another region must be better by {band} (dead band){wait}"
