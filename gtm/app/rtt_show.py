"""`gtm rtt show`: what a node knows of round-trip times, from its state folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gtm.app.columns import columns, moment
from gtm.app.explain_text import measured_lines
from gtm.app.question import client_of
from gtm.app.rtt_places import asn_of
from gtm.app.rtt_shown import MeasuredLevel, address_of, falls_back, measured_for
from gtm.app.scene import scene_of_folder
from gtm.geo.space import PlaceSpace
from gtm.model.errors import AskedError, GtmError
from gtm.model.place import NOWHERE
from gtm.model.policy import Asn, Country
from gtm.web.document import as_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferring:
    """How many keys of each kind prefer an order of regions."""

    networks: int
    asns: int
    countries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRtt:
    """What is known, as it was saved at `saved_at_s`; `measured` of the client, where one was asked for.

    `reason` says why `rtt` is `nearest` for that client; None where it is not.
    """

    saved_at_s: float
    networks: int
    regions: tuple[str, ...]
    nodes: tuple[str, ...]
    preferring: Preferring
    client: str | None = None
    measured: tuple[MeasuredLevel, ...] = ()
    reason: str | None = None


def show(folder: Path, client: str | None) -> ShownRtt:
    """What the node of a deployment folder knows. Raises AskedError for no address, GtmError where nothing is kept."""
    asker = None if client is None else client_of(client)
    if isinstance(asker, str):
        raise AskedError(f"{client} is no address", argument="from")
    scene = scene_of_folder(folder)
    kept, settings = scene.rtt, scene.deployment.rtt
    if settings is None:
        raise GtmError("the deployment has no probes/rtt.yaml: round-trip times are not measured")
    if kept is None:
        raise GtmError("the node has kept no round-trip times yet")
    known = kept.together()
    asns, countries = (sum(isinstance(key, kind) for key in kept.preferences.by_key) for kind in (Asn, Country))
    shown = ShownRtt(
        saved_at_s=kept.saved_at_s,
        networks=len(known),
        regions=tuple(sorted({region for regions in known.values() for region in regions})),
        nodes=tuple(sorted(kept.heard)),
        preferring=Preferring(networks=len(kept.preferences.by_key) - asns - countries, asns=asns, countries=countries),
    )
    if asker is None:
        return shown
    address = address_of(asker)
    place = NOWHERE if scene.places is None else scene.places.find(address)[0]
    if place.asn is None and isinstance(scene.places, PlaceSpace):
        place = replace(place, asn=asn_of(scene.places.databases, address))
    levels = measured_for(kept, address, place, settings, time.time())
    return replace(shown, client=str(asker), measured=levels, reason=falls_back(levels, settings))


def rtt_document(shown: ShownRtt) -> dict[str, object]:
    """What is shown as JSON."""
    return as_object(shown)


def rtt_text(shown: ShownRtt) -> str:
    """What is shown as lines of text, without a newline at the end."""
    return "\n".join(_lines(shown))


def _lines(shown: ShownRtt) -> Iterator[str]:
    yield f"round-trip times of {shown.networks} networks, as of {moment(shown.saved_at_s)}"
    count = shown.preferring
    yield from columns(
        (
            ("regions", ", ".join(shown.regions) or "none"),
            ("nodes", ", ".join(shown.nodes) or "no others"),
            ("prefer", f"{count.networks} networks, {count.asns} ASs, {count.countries} countries"),
        )
    )
    if shown.client is not None:
        yield ""
        yield f"client {shown.client}"
        yield from measured_lines(shown.measured)
    if shown.reason is not None:
        yield f"  note  {shown.reason}"
