"""Active measurements: every target once an interval, each at its own moment, never many at once."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from gtm.model.errors import GtmError
from gtm.model.rtt import RttKind, RttSample, RttTarget
from gtm.observe.ping import Echoes
from gtm.observe.rtt.handshake import Handshakes
from gtm.observe.rtt.network import Width
from gtm.observe.rtt.query import Queries

log = structlog.get_logger()

OnSamples = Callable[[list[RttSample]], None]

WAITING_MAX = 512  # measurements under way at once; 5,000 targets each 60 s, none answering in 2 s, are 167
TICK_S = 0.05
IDLE_S = 1.0
HANDED_S = 1.0  # samples are handed over together
JITTER_SHARE = 0.1  # of the interval, so that what happens each full minute is not met by the same targets each time
LATE_SHARE = 0.1  # of the interval; one that is later than that is left out, not made up for


@dataclass(slots=True, kw_only=True)
class ActiveCounters:
    """Totals: sent, answered, lost (no answer in time), unsent (no way there, no right) and left out for being late."""

    sent: int = 0
    answered: int = 0
    lost: int = 0
    unsent: int = 0
    skipped: int = 0


class ActiveRtt:
    """Measures round-trip times from one region to targets. `on_samples` gets them in the event loop, now and then."""

    def __init__(
        self,
        targets: Sequence[RttTarget],
        region: str,
        *,
        interval_s: float,
        timeout_s: float,
        on_samples: OnSamples,
        width: Width | None = None,
        counters: ActiveCounters | None = None,
        seed: int | None = None,
    ) -> None:
        """Nothing is sent before `run`. `seed` fixes the order and the jitter; None: they differ with each start."""
        self._targets = tuple(targets)
        self._region = region
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._on_samples = on_samples
        self._width = width or Width()
        self.counters = counters or ActiveCounters()
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, float]] = []  # (when, which target, its slot without jitter)
        self._waiting = 0
        self._samples: list[RttSample] = []
        self._said: set[str] = set()
        self._ended = False

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        echoes, handshakes, queries = Echoes(), Handshakes(), Queries()
        self._plan(loop.time())
        hand_at_s = loop.time() + HANDED_S
        try:
            while True:
                self._start_due(loop.time(), echoes, handshakes, queries)
                if loop.time() >= hand_at_s:
                    self._hand_over()
                    hand_at_s = loop.time() + HANDED_S
                next_s = self._due[0][0] - loop.time() if self._due else IDLE_S
                await asyncio.sleep(min(max(next_s, TICK_S), IDLE_S))
        finally:
            self._ended = True
            echoes.close()
            handshakes.close()
            queries.close()

    def _plan(self, now_s: float) -> None:
        """Give each target its slot in the interval, in an order that differs from the file's."""
        order = list(range(len(self._targets)))
        self._random.shuffle(order)
        step_s = self._interval_s / max(1, len(order))
        self._due = [(now_s + place * step_s, which, now_s + place * step_s) for place, which in enumerate(order)]
        heapq.heapify(self._due)

    def _start_due(self, now_s: float, echoes: Echoes, handshakes: Handshakes, queries: Queries) -> None:
        while self._due and self._due[0][0] <= now_s and self._waiting < WAITING_MAX:
            due_s, which, slot_s = self._due[0]
            late = now_s - due_s > max(LATE_SHARE * self._interval_s, 1.0)
            while slot_s <= now_s:  # more than once only after a pause of this process
                slot_s += self._interval_s
            jitter_s = self._random.uniform(0, JITTER_SHARE) * self._interval_s
            heapq.heapreplace(self._due, (slot_s + jitter_s, which, slot_s))
            if late:
                self.counters.skipped += 1
            else:
                self._start(self._targets[which], echoes, handshakes, queries)

    def _start(self, target: RttTarget, echoes: Echoes, handshakes: Handshakes, queries: Queries) -> None:
        done = partial(self._done, target)
        self._waiting += 1
        self.counters.sent += 1
        try:
            match target.kind:
                case RttKind.ICMP:
                    echoes.send(target.address, self._timeout_s, done)
                case RttKind.TCP:
                    handshakes.send(target.address, target.port, self._timeout_s, done)
                case RttKind.DNS:
                    queries.send(target.address, target.port, self._timeout_s, done)
        except (OSError, GtmError) as error:
            self._waiting -= 1
            self.counters.sent -= 1
            self.counters.unsent += 1
            self._say(target, error)

    def _say(self, target: RttTarget, error: Exception) -> None:
        """One line for each reason, however many targets it holds for."""
        reason = str(error)
        if reason not in self._said and len(self._said) < 16:
            self._said.add(reason)
            log.warning("rtt_not_sent", target=str(target.address), kind=str(target.kind), reason=reason)

    def _done(self, target: RttTarget, rtt_s: float | None) -> None:
        self._waiting -= 1
        if self._ended:  # it was given up, not lost
            return
        if rtt_s is None:
            self.counters.lost += 1
            return
        self.counters.answered += 1
        network = self._width.network(target.address)
        self._samples.append(RttSample(network=network, region=self._region, rtt_s=rtt_s, at_s=time.time()))

    def _hand_over(self) -> None:
        if self._samples:
            samples, self._samples = self._samples, []
            self._on_samples(samples)
