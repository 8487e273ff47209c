"""Attributes of routes in words: communities beside what a provider's dictionary, or the RFCs, call them."""

from __future__ import annotations

from gtm.model.anycast import Anycast, Neighbour, Provider
from gtm.model.route import WELL_KNOWN, Attributes, Community, ExtendedCommunity, LargeCommunity

AnyCommunity = Community | ExtendedCommunity | LargeCommunity


def attributes_words(attributes: Attributes, provider: Provider | None) -> tuple[str, ...]:
    """The attributes, one text each, in the order of a router's own output."""
    parts = []
    if attributes.next_hop is not None:
        parts.append(f"next hop {attributes.next_hop}")
    if attributes.as_path:
        parts.append(f"AS path {' '.join(map(str, attributes.as_path))}")
    if attributes.med is not None:
        parts.append(f"MED {attributes.med}")
    if attributes.local_pref is not None:
        parts.append(f"local preference {attributes.local_pref}")
    communities = attributes.communities
    every: tuple[AnyCommunity, ...] = (*communities.standard, *communities.extended, *communities.large)
    for one in every:
        named = meanings(one, provider)
        parts.append(f"{one} ({', '.join(named)})" if named else str(one))
    return tuple(parts)


def meanings(one: AnyCommunity, provider: Provider | None) -> tuple[str, ...]:
    """The words that a community is, or is a part of, with the provider's note."""
    names = [name for name, known in WELL_KNOWN.items() if known == one]
    if provider is not None:
        for word, meant in provider.words.items():
            if one in (*meant.standard, *meant.extended, *meant.large):
                note = provider.notes.get(word)
                names.append(word if note is None else f"{word}: {note}")
    return tuple(names)


def provider_of(anycast: Anycast, neighbour: Neighbour | None) -> Provider | None:
    """The dictionary of a neighbour."""
    return None if neighbour is None or neighbour.provider is None else anycast.providers.get(neighbour.provider)
