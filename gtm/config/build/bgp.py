"""bgp/anycast.yaml -> who announces what, and how its parts fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gtm.config.build.bgp_rules import build_guard, build_ladder, build_lease, build_providers
from gtm.config.build.bgp_services import Around, build_services
from gtm.config.build.bgp_speakers import build_speakers
from gtm.config.document import Document, Steps
from gtm.config.known import Known
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.bgp import AnycastFile
from gtm.model.address import IPNetwork
from gtm.model.anycast import Anycast, Guard, Neighbour, Provider, Service, Speaker
from gtm.model.node import Node
from gtm.model.route import Family

PHASES = ("up", "down", "disabled", "draining", "held")


def build_anycast(document: Document | None, around: Around, node: Node) -> Anycast | None:
    """What is announced; None without a file."""
    found = document.validate(AnycastFile) if document is not None else None
    if document is None or found is None:
        return None
    providers = build_providers(found)
    speakers = build_speakers(document, found, around.folder, around.regions)
    services = build_services(document, found.services, around)
    guard = build_guard(document, found.guard, around.folder)
    anycast = Anycast(
        speakers=speakers,
        services=services,
        providers=providers,
        ladder=build_ladder(document, found),
        guard=guard,
        lease=build_lease(found),
    )
    _check_place(document, speakers, node, around.regions)
    _check_allowed(document, services, guard)
    _check_reach(document, anycast)
    _check_words(document, found, anycast)
    return anycast


def _check_place(document: Document, speakers: Mapping[str, Speaker], node: Node, regions: Known) -> None:
    """A node announces from the region that gtm.yaml says it stands in."""
    speaker = speakers.get(node.name)
    if speaker is not None and speaker.region in regions and node.region not in (None, speaker.region):
        words = f"{speaker.region} is not where {node.name} is, says gtm.yaml"
        document.fault(("speakers", node.name, "region"), words, node.region)


def _check_allowed(document: Document, services: Mapping[str, Service], guard: Guard) -> None:
    """Every prefix is within the allow-list, and no longer than it says."""
    if guard.allowed is None or not document.intact("guard"):
        return
    for name, service in services.items():
        for position, prefix in enumerate(service.prefixes):
            lengths = [each.length_max for each in guard.allowed if _within(prefix, each.prefix)]
            place = ("services", name, "prefixes", position)
            if not lengths:
                allowed = listed(f"{each.prefix}..{each.length_max}" for each in guard.allowed)
                document.fault(place, f"{prefix} is not in guard.allowed", allowed or "nothing")
            elif prefix.prefixlen > max(lengths):
                document.fault(place, f"{prefix} is longer than guard.allowed", f"up to /{max(lengths)}")


def _within(prefix: IPNetwork, wider: IPNetwork) -> bool:
    return prefix.version == wider.version and prefix.prefixlen >= wider.prefixlen and prefix.network_address in wider


def _check_reach(document: Document, anycast: Anycast) -> None:
    """Every family that a speaker has to announce reaches a neighbour, with a next hop that it can use."""
    for node, speaker in anycast.speakers.items():
        place = ("speakers", node, "neighbours")
        if not document.intact(*place):
            continue
        for family, service in _families(anycast, speaker):
            heard = [each for each in speaker.neighbours if family in each.families]
            short = family.partition(" ")[0]
            if not heard:
                words = f"none of them is told {short}, which {service} has"
                document.fault(place, words, f"{short} in the families of one of them")
            for each in heard:
                if not _has_next_hop(each, family):
                    words = f"{each.address} would be told {short} prefixes of {service} without a next hop"
                    allowed = f"next_hop: an {short.replace('ip', 'IP')} address, the speaker's in address, or families"
                    document.fault((*place, each.name), words, f"{allowed} without {short}")


def _families(anycast: Anycast, speaker: Speaker) -> Iterator[tuple[Family, str]]:
    """The families that a speaker has to announce, each with the first service that has it."""
    seen: set[Family] = set()
    for service in anycast.served_by(speaker):
        for family in map(Family.of, service.prefixes):
            if family not in seen:
                seen.add(family)
                yield family, service.name


def _has_next_hop(neighbour: Neighbour, family: Family) -> bool:
    return family is Family.of(neighbour.address) or family in neighbour.next_hops


def _check_words(document: Document, found: AnycastFile, anycast: Anycast) -> None:
    """Every word is in the dictionary of a provider that is somebody's neighbour."""
    spoken = {each.provider for speaker in anycast.speakers.values() for each in speaker.neighbours}
    heard = [anycast.providers[name] for name in anycast.providers if name in spoken]
    if not document.intact("providers") or not document.intact("speakers"):
        return
    for place, words in _said(found):
        _look_up(document, place, words, heard)
    for name, shape in found.services.items():
        for provider, treatment in shape.providers.items():
            place = ("services", name, "providers", provider)
            if provider not in anycast.providers:
                known = tuple(anycast.providers)
                message = f"there is no provider {provider}{did_you_mean(provider, known)}"
                document.fault(place, message, listed(known) or "none: providers has none")
            else:
                _look_up(document, place, treatment.words, [anycast.providers[provider]])


def _said(found: AnycastFile) -> Iterator[tuple[Steps, tuple[str, ...]]]:
    """The words that all neighbours are told, and where."""
    for name, shape in found.services.items():
        yield ("services", name, "base"), shape.base.words
        for phase in PHASES:
            treatment = getattr(shape, phase)
            yield ("services", name, phase), () if treatment is None else treatment.words
    for position, rung in enumerate(found.ladder or ()):
        yield ("ladder", position), rung.words


def _look_up(document: Document, place: Steps, words: tuple[str, ...], providers: list[Provider]) -> None:
    known = tuple(dict.fromkeys(word for provider in providers for word in provider.words))
    for position, word in enumerate(words):
        if word not in known:
            message = f"no neighbour's provider knows {word}{did_you_mean(word, known)}"
            if len(providers) == 1:
                message = f"{providers[0].name} does not know {word}{did_you_mean(word, known)}"
            allowed = listed(known) or "none: no provider of a neighbour has words"
            document.fault((*place, "words", position), message, allowed)
