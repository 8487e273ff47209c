"""What balancers of one PoP tell each other: datagrams of one session, and the pages of words that they carry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

WORD_BYTES = 8
PAGE_WORDS_MAX = 144  # so that a datagram is 1,232 bytes at most: what IPv6's least MTU has room for


class Kind(IntEnum):
    """What a datagram is for: to begin a session, to carry a page, or to acknowledge and to be heard of."""

    HELLO = 1
    DATA = 2
    ACK = 3


class Section(IntEnum):
    """What a page's words say. A word is a key of 48 bits above 16, of which 15 name a backend by the sender's number.

    NAMES: the key is a digest of the backend's name; a number that was named before is given to another. SLOTS: a ring
    and one of its slots in transition, with the previous backend. FRONT, FLOWS: flows of the table's busy halves and of
    the rest, as they stand there. EVENTS: flows that are new, or marked as closed, in their order. BEGIN, END: of a
    bulk transfer; END's only word is the number of words between. ASK: for another bulk transfer.
    """

    NONE = 0
    NAMES = 1
    SLOTS = 2
    FRONT = 3
    FLOWS = 4
    EVENTS = 5
    BEGIN = 6
    END = 7
    ASK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """At most PAGE_WORDS_MAX words, 8 bytes each, least significant byte first."""

    section: Section
    words: bytes = b""

    @property
    def count(self) -> int:
        """How many words it has."""
        return len(self.words) // WORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """What one instance tells another.

    `epoch` names the sender's end of the session, `toward` the receiver's (0: not known); both are drawn anew for each
    session. `number` counts the datagrams of an end from 1, `sequence` its pages from 1 (0: no page), and
    `acknowledged` is how many of the other's pages came in full, from the first. `table` tells which flow table the
    words are for: only those with the same seed and layout understand each other. `ready`: the sender may attract
    traffic.
    """

    kind: Kind
    sender: int
    epoch: int
    toward: int
    number: int
    acknowledged: int
    table: int
    sequence: int = 0
    ready: bool = False
    page: Page = Page(section=Section.NONE)
