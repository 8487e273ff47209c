"""Pages in their order over datagrams that may be lost, doubled or overtaken: both ends.

One page that fails to come holds up those behind it and loses none of them, so the last word on a flow is the last one
here too. The far end keeps what came early; hence one page lost costs one page sent again (as in RFC 6582).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gtm.model.sync import Page

WINDOW = 64  # pages that are not acknowledged: 80 kB, which a socket's usual buffer has room for
RESEND_S = 0.1
RESEND_MAX_S = 1.0
DUPLICATES = 3  # acknowledgements that say nothing new: the first page is lost, or late


class Sending:
    """Numbers pages from 1 and keeps each until it is acknowledged, at most WINDOW at a time."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.again = 0  # pages that were sent again
        self._kept: deque[Page] = deque()  # the first is number acknowledged + 1
        self._sent = 0  # the last number given
        self._lost: list[int] = []  # numbers to be sent again
        self._duplicates = 0
        self._recovered = 0  # a loss is mended once this one is acknowledged
        self._wait_s = RESEND_S
        self._due_s = 0.0

    @property
    def outstanding(self) -> int:
        """Pages that were sent and are not acknowledged."""
        return len(self._kept)

    def due_s(self) -> float | None:
        """When `take` sends again of itself; None while nothing is outstanding."""
        return self._due_s if self._kept else None

    def acknowledge(self, count: int, now_s: float, *, bare: bool) -> None:
        """The far end has all pages up to number `count`. `bare`: it said nothing else with that."""
        if count > self._sent:
            return
        if count > self.acknowledged:
            for _ in range(count - self.acknowledged):
                self._kept.popleft()
            self.acknowledged, self._duplicates = count, 0
            self._wait_s = RESEND_S
            self._due_s = now_s + self._wait_s
            if count < self._recovered and self._kept:
                self._lost = [count + 1]  # the next gap of the same loss
        elif count == self.acknowledged and bare and self._kept:
            self._duplicates += 1
            if self._duplicates == DUPLICATES and count >= self._recovered:
                self._recovered, self._lost = self._sent, [count + 1]

    def take(self, following: Callable[[], Page | None], now_s: float) -> list[tuple[int, Page]]:
        """What is to be sent now, with its numbers: what was lost, then what `following` gives while there is room."""
        if self._kept and now_s >= self._due_s:
            self._lost = list(range(self.acknowledged + 1, self._sent + 1))
            self._recovered = self._sent
            self._wait_s = min(2 * self._wait_s, RESEND_MAX_S)
            self._due_s = now_s + self._wait_s
        lost = (number for number in self._lost if number > self.acknowledged)
        found = [(number, self._kept[number - self.acknowledged - 1]) for number in lost]
        self.again += len(found)
        self._lost = []
        while len(self._kept) < WINDOW:
            page = following()
            if page is None:
                break
            if not self._kept:
                self._due_s = now_s + self._wait_s
            self._sent += 1
            self._kept.append(page)
            found.append((self._sent, page))
        return found


class Receiving:
    """Gives pages in their order, each once."""

    def __init__(self) -> None:
        self.count = 0  # pages that were given, which is what is acknowledged
        self._early: dict[int, Page] = {}

    def take(self, number: int, page: Page) -> list[Page]:
        """The pages that can be given now that this one is there; none if it is known, or beyond any window."""
        if not self.count < number <= self.count + WINDOW:
            return []
        self._early[number] = page
        found = []
        while (following := self._early.pop(self.count + 1, None)) is not None:
            self.count += 1
            found.append(following)
        return found
