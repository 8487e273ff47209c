"""The versions of ExaBGP whose process API gtm speaks. A new one gets its member, and its lines where they differ."""

from __future__ import annotations

import re
from enum import StrEnum

_VERSION = re.compile(r"(?:exabgp )?(\d+)\.\d+(?:\.\d+)?\S*")


class Dialect(StrEnum):
    """A major version: 4.2 tells neighbours' states in events alone, 5.0 also when it is asked.

    To a route that it cannot parse 4.2 answers nothing, where 5.0 says `error`: our own checks refuse those before, and
    Session.waited_s tells of one that came through. All else both answer, in order.
    """

    V4 = "4"
    V5 = "5"

    @classmethod
    def of(cls, version: str) -> Dialect:
        """The dialect of a version as ExaBGP writes it. Raises ValueError for one that gtm does not speak."""
        match = _VERSION.fullmatch(version.strip())
        if match is None or match[1] not in {*cls}:
            raise ValueError(f"ExaBGP {version!r} is not known (allowed: 4.2, 5.0)")
        return cls(match[1])


# The only form that both versions have with all attributes; JSON has the prefixes alone.
SHOW_RIB = "show adj-rib out extensive"
VERSION = "version"


def show_neighbours(dialect: Dialect) -> str | None:
    """The question for all neighbours' states; None where only events tell them."""
    match dialect:
        case Dialect.V5:
            return "show neighbor json"
        case Dialect.V4:
            return None
