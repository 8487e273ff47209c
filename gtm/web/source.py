"""What the web application asks of the rest of gtm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gtm.web.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `explain` is asked, as people write it: a name, a type, a client, and regions to take as down.

    `client` is an address, a network, a country ("JP") or a subdivision ("US-CA").
    """

    name: str
    rtype: str
    client: str
    down: tuple[str, ...] = ()


class StatusSource(Protocol):
    """A node, read only. Both calls may block for some milliseconds and are made from a thread."""

    def status(self) -> Status:
        """The node now. Raises GtmError where there is nothing to read yet."""

    def explain(self, question: Question) -> Mapping[str, object]:
        """The explanation as a JSON-ready document.

        Raises AskedError for a question that makes no sense, and other GtmErrors where there is nothing to read yet.
        """
