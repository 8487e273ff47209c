"""A probe of one kind, run once against an address."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import TypeVar

from gtm.model.check import Cadence, Check, Probe, Target
from gtm.observe.outcome import Outcome, Reason
from gtm.observe.probe import prepare

HERE = "127.0.78.1"
LONG_S = 30.0
SHORT_S = 0.5  # for probes that must time out
T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T]) -> T:
    return asyncio.run(coroutine)


async def asked(probe: Probe, address: str = HERE, timeout_s: float = LONG_S) -> Outcome:
    check = Check(name="it", probe=probe, cadence=Cadence(timeout_s=timeout_s))
    return await prepare(Target(check="it", address=ip_address(address)), check)()


def shown(outcome: Outcome) -> tuple[Reason, str]:
    return outcome.reason, re.sub(r"in (\d+|under 1) ms$", "in N ms", outcome.detail)
