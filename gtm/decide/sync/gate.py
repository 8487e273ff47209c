"""Whether an instance may attract traffic: once it knows what its peers know."""

from __future__ import annotations

from collections.abc import Mapping

from gtm.decide.sync.link import Link


class Gate:
    """Closed until a bulk transfer of every peer came in full; open for good from then on.

    A peer that has not said a word for `ready_s` is not waited for, nor is one whose flows mean something else here
    (another seed or layout). One that answers is waited for, however long: it may have been started anew halfway.
    """

    def __init__(self, *, started_s: float, ready_s: float, opened: bool = False) -> None:
        """`opened`: the instance was ready before its manager was started anew, and its tables were kept."""
        self._started_s, self._ready_s, self._open = started_s, ready_s, opened

    def waits_for(self, links: Mapping[str, Link], now_s: float) -> tuple[str, ...]:
        """The peers whose flows are still to come; none once the gate is open."""
        if self._open:
            return ()
        waiting = tuple(name for name, link in links.items() if not self._done(link, now_s))
        self._open = not waiting
        return waiting

    def _done(self, link: Link, now_s: float) -> bool:
        heard_s = self._started_s if link.heard_s is None else max(link.heard_s, self._started_s)
        return link.complete or not link.compatible or now_s - heard_s >= self._ready_s
