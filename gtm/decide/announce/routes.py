"""The routes that a wish comes to: for each neighbour and prefix, with every attribute resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gtm.decide.announce.guard import not_allowed
from gtm.decide.announce.ladder import rungs
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import UNTREATED, Anycast, Neighbour, Phase, Service, Speaker, Treatment
from gtm.model.route import (
    GRACEFUL_SHUTDOWN,
    NO_COMMUNITIES,
    Attributes,
    Communities,
    ExtendedCommunity,
    ExtendedKind,
    Family,
    Route,
)

AS_TRANS = 23456  # RFC 6793: stands for a four-octet AS where there is room for two
TWO_OCTETS_MAX = 65535
_HELD = Treatment(communities=Communities(standard=(GRACEFUL_SHUTDOWN,)))


def routes(anycast: Anycast, speaker: Speaker, service: Service, wish: Wish) -> tuple[Route, ...]:
    """The routes that are to stand, by neighbour and prefix in file order; none where the wish is not to announce.

    The prefixes are those declared and no others, never more specific, and none that the guard's allow-list forbids.
    """
    if not wish.announce:
        return ()
    found = []
    for neighbour in speaker.neighbours:
        attributes = _attributes(anycast, speaker, neighbour, treatment(anycast, service, neighbour, wish))
        for prefix in service.prefixes:
            if Family.of(prefix) in neighbour.families and not_allowed(anycast.guard, prefix) is None:
                made = replace(attributes, next_hop=neighbour.next_hops.get(Family.of(prefix)))
                found.append(Route(neighbour=neighbour.address, prefix=prefix, attributes=made))
    return tuple(found)


def treatment(anycast: Anycast, service: Service, neighbour: Neighbour, wish: Wish) -> Treatment:
    """How the route to a neighbour is treated: the base, then the phase, the provider, and the rungs down to this one.

    The rungs come last, and HELD adds GRACEFUL_SHUTDOWN (RFC 8326): what makes a route less attractive must not be
    undone by what is usual for a provider.
    """
    layers = [service.base, _of_phase(service, wish)]
    if neighbour.provider is not None:
        layers.append(service.providers.get(neighbour.provider, UNTREATED))
    layers += [rung.treatment for rung in rungs(anycast)[: len(wish.rungs)]]
    if wish.phase is Phase.HELD:
        layers.append(_HELD)
    total = UNTREATED
    for layer in layers:
        total = _over(total, layer)
    return total


def unknown_words(anycast: Anycast, neighbour: Neighbour, words: tuple[str, ...]) -> tuple[str, ...]:
    """The words that a neighbour's dictionary does not have; they mean nothing to it, and are not sent."""
    known = _dictionary(anycast, neighbour)
    return tuple(word for word in words if word not in known)


def _of_phase(service: Service, wish: Wish) -> Treatment:
    """That of the phase if it has one of its own, else that of what it looks like; HELD is as good as DOWN."""
    look = Phase.DOWN if wish.phase is Phase.HELD else wish.look
    return service.treatments.get(wish.phase, service.treatments.get(look, UNTREATED))


def _over(below: Treatment, above: Treatment) -> Treatment:
    """One treatment on top of another: figures replace, prepends add up, communities and words come together."""
    return Treatment(
        med=below.med if above.med is None else above.med,
        prepend=below.prepend + above.prepend,
        local_pref=below.local_pref if above.local_pref is None else above.local_pref,
        communities=below.communities | above.communities,
        words=tuple(dict.fromkeys((*below.words, *above.words))),
        bandwidth=below.bandwidth if above.bandwidth is None else above.bandwidth,
    )


def _attributes(anycast: Anycast, speaker: Speaker, neighbour: Neighbour, treated: Treatment) -> Attributes:
    internal = neighbour.asn == neighbour.local_asn
    communities = treated.communities
    dictionary = _dictionary(anycast, neighbour)
    for word in treated.words:
        communities |= dictionary.get(word, NO_COMMUNITIES)
    if treated.bandwidth is not None:
        communities |= Communities(extended=(_bandwidth(speaker, neighbour, treated.bandwidth),))
    return Attributes(
        med=treated.med,
        # Not for external peers (RFC 4271 section 5.1.5).
        local_pref=treated.local_pref if internal else None,
        # Sent as it stands, so the AS itself is in it too. Within the AS it would look like a loop to every router.
        as_path=(neighbour.local_asn,) * (1 + treated.prepend) if treated.prepend and not internal else (),
        communities=communities,
    )


def _bandwidth(speaker: Speaker, neighbour: Neighbour, octets_s: int) -> ExtendedCommunity:
    """Link bandwidth (draft-ietf-idr-link-bandwidth): the speaker's part of it, in octets a second."""
    administrator = neighbour.local_asn if neighbour.local_asn <= TWO_OCTETS_MAX else AS_TRANS
    return ExtendedCommunity(ExtendedKind.BANDWIDTH, administrator, round(octets_s * speaker.weight))


def _dictionary(anycast: Anycast, neighbour: Neighbour) -> Mapping[str, Communities]:
    provider = anycast.providers.get(neighbour.provider) if neighbour.provider is not None else None
    return {} if provider is None else provider.words
