"""Two instances and what is between them: datagrams that are lost, doubled, overtaken and said again much later."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gtm.decide.sync.link import Link
from gtm.model.sync import Datagram, Page, Section

TABLE = 7


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def numbers(pages: Sequence[Page]) -> list[int]:
    text = b"".join(page.words for page in pages)
    return [int.from_bytes(text[at : at + 8], "little") for at in range(0, len(text), 8)]


def pages(count: int, per_page: int = 100, start: int = 1) -> Iterator[Page]:
    """Flows `start`, `start` + 1 and so on."""
    for at in range(start, start + count, per_page):
        yield Page(section=Section.FLOWS, words=words(*range(at, min(at + per_page, start + count))))


@dataclass(slots=True)
class End:
    """An instance: its link, and the pages that it got, in their order."""

    link: Link
    got: list[Page] = field(default_factory=list)
    ready: bool = False
    knows: int = 0  # flows that a bulk transfer tells

    def of(self, *sections: Section) -> list[int]:
        return numbers([page for page in self.got if page.section in sections])

    @property
    def count(self) -> int:
        return sum(page.count for page in self.got)


class Pair:
    """Ends 0 and 1 and the wire; `step` gives time a push. `wires[n]`: what end n has sent and did not come yet."""

    def __init__(self, seed: int = 0, *, loss: float = 0, double: float = 0, overtake: float = 0) -> None:
        self.rand = random.Random(seed)
        self._loss, self._double, self._overtake = loss, double, overtake
        self.now_s = 0.0
        self.recorded: tuple[list[Datagram], list[Datagram]] = ([], [])
        self.wires: tuple[list[Datagram], list[Datagram]] = ([], [])
        self.ends = [self.made(0), self.made(1)]
        self.cut = False

    def nonces(self) -> Iterator[int]:
        while True:
            yield self.rand.getrandbits(64) | 1

    def made(self, own: int, table: int = TABLE) -> End:
        return End(Link(own=own, table=table, nonces=self.nonces()))

    def restart(self, which: int, *, table: int = TABLE) -> End:
        """Another process in the place of one that forgot everything."""
        self.ends[which] = self.made(which, table)
        return self.ends[which]

    def step(self, count: int = 1, dt_s: float = 0.02) -> None:
        for _ in range(count):
            self.now_s += dt_s
            for which, end in enumerate(self.ends):
                for one in end.link.send(self.now_s, ready=end.ready):
                    self._put(which, one)
                while end.link.wants_bulk:
                    end.link.bulk(pages(end.knows))
            for which in (0, 1):
                self._deliver(which)

    def settle(self, limit: int = 3000) -> None:
        """Until both have told all, and heard that it came."""
        for _ in range(limit):
            self.step()
            if all(self._idle(end) for end in self.ends):
                return
        raise AssertionError("it does not come to rest")

    def _idle(self, end: End) -> bool:
        return end.link.established and end.link.idle

    def _put(self, sender: int, one: Datagram) -> None:
        if not self.cut and self.rand.random() >= self._loss:
            self.wires[sender].append(one)
            if self.rand.random() < self._double:
                self.wires[sender].append(one)

    def _deliver(self, sender: int) -> None:
        wire = self.wires[sender]
        going = wire[:]
        wire.clear()
        for at in range(len(going) - 1):
            if self.rand.random() < self._overtake:
                other = self.rand.randrange(len(going))
                going[at], going[other] = going[other], going[at]
        if going and self.rand.random() < self._overtake:
            wire.append(going.pop())  # comes a step late
        for one in going:
            self.hand(sender, one)

    def hand(self, sender: int, one: Datagram) -> list[Page]:
        """A datagram of `sender` at the other end, whenever it was sent."""
        self.recorded[sender].append(one)
        end = self.ends[1 - sender]
        found = end.link.receive(one, self.now_s)
        end.got += found
        return found
