"""What a speaker tells the others of its announcements, and the permit to leave a service: JSON, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gtm.model.anycast import Phase
from gtm.model.errors import StoreError

SIZE_MAX_BYTES = 1_000_000
SERVICES_MAX, SPEAKERS_MAX = 10_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a speaker tells of a service. `leaving`: it wants to withdraw it; `since_s` is seconds since the epoch."""

    phase: Phase
    announcing: bool
    leaving: bool
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """All that a speaker tells: its region and its services by name.

    `run` is another word for each process, `beat` counts what it told.
    """

    region: str
    services: Mapping[str, Told]
    run: str
    beat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The permit to leave a service: the region that has it, which of its speakers rely on it, and until when.

    `until_s` is for people, in seconds since the epoch: what counts is the lease of the key.
    """

    region: str
    speakers: tuple[str, ...]
    until_s: float


def encode_telling(telling: Telling) -> bytes:
    """The value of a speaker's key."""
    services = {
        name: {
            "phase": str(one.phase),
            "announcing": one.announcing,
            "leaving": one.leaving,
            "since_s": one.since_s,
        }
        for name, one in telling.services.items()
    }
    return _json(region=telling.region, services=services, run=telling.run, beat=telling.beat)


def decode_telling(value: bytes) -> Telling:
    """What a speaker told. Raises StoreError for what makes no sense, as from another version."""
    try:
        found = _object(value)
        services = found["services"]
        if len(services) > SERVICES_MAX:
            raise ValueError(f"{len(services)} services (at most {SERVICES_MAX})")
        return Telling(
            region=_text(found["region"]),
            services={
                _text(name): Told(
                    phase=Phase(one["phase"]),
                    announcing=_flag(one["announcing"]),
                    leaving=_flag(one["leaving"]),
                    since_s=_time(one["since_s"]),
                )
                for name, one in services.items()
            },
            run=_text(found["run"]),
            beat=int(found["beat"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StoreError(f"what a speaker told makes no sense: {type(error).__name__} {error}") from None


def encode_leaving(leaving: Leaving) -> bytes:
    """The value of a permit's key."""
    return _json(region=leaving.region, speakers=list(leaving.speakers), until_s=leaving.until_s)


def decode_leaving(value: bytes) -> Leaving:
    """Who has a permit. Raises StoreError for what makes no sense."""
    try:
        found = _object(value)
        speakers = found["speakers"]
        if not isinstance(speakers, list) or len(speakers) > SPEAKERS_MAX:
            raise ValueError(f"not a list of at most {SPEAKERS_MAX} speakers")
        return Leaving(
            region=_text(found["region"]), speakers=tuple(map(_text, speakers)), until_s=_time(found["until_s"])
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StoreError(f"a permit to leave makes no sense: {type(error).__name__} {error}") from None


def _json(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _object(value: bytes) -> dict[str, Any]:
    """A JSON object, of whose parts nothing is known yet. Raises ValueError, TypeError, RecursionError."""
    if len(value) > SIZE_MAX_BYTES:
        raise ValueError(f"{len(value)} octets (at most {SIZE_MAX_BYTES})")
    found = json.loads(value)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is not true or false")
    return value


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ValueError(f"{value!r:.40} is no time")
    return float(value)
