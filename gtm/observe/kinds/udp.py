"""A datagram, and an answer to it that must look as expected."""

from __future__ import annotations

import re

from gtm.model.check import Target, UdpProbe
from gtm.observe.attempt import Attempt
from gtm.observe.kinds.datagram import Datagrams
from gtm.observe.kinds.words import excerpt
from gtm.observe.outcome import ProbeFault, Reason


class UdpAsk:
    """Sends the datagram; the first that comes back decides. Raises re.error for a pattern that is none."""

    __slots__ = ("_expect", "_probe", "_target")

    def __init__(self, target: Target, probe: UdpProbe) -> None:
        self._target = target
        self._probe = probe
        self._expect = None if probe.expect is None else re.compile(probe.expect)

    async def __call__(self, attempt: Attempt) -> str:
        """How much was answered. Raises ProbeFault."""
        attempt.doing = "sending the datagram"
        datagrams = Datagrams.udp(attempt, self._target.address)
        datagrams.connect(self._target.address, self._probe.port)
        await datagrams.send(self._probe.send)
        attempt.doing = "waiting for an answer"
        answer = await datagrams.receive()
        attempt.first_byte_s = attempt.lap_s()
        if self._expect is not None and not self._expect.search(answer):
            raise ProbeFault(Reason.BODY, f"answer did not match: {excerpt(answer)}")
        return f"{len(answer)} bytes answered"
