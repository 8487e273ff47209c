"""The kernel's jiffies64, in which the programs read deadlines: asked once of the kernel, then counted on.

User space is not told how many there are in a second (CONFIG_HZ), nor where they began. Two programs of three
instructions return the number's halves, and only one HZ goes with it and the time since boot: jiffies begin at
2^32 - 300 HZ (INITIAL_JIFFIES), so that what wraps wraps early. Five minutes after boot all of them do, and a second
look tells.
"""

from __future__ import annotations

import ctypes as c
import os
import struct
import time
from dataclasses import dataclass

from gtm.publish.dataplane import bpf

RATES_PER_S = (100, 250, 300, 1000)
OFF_S = 30.0  # what may lie between both clocks
ALIKE_S = 2.0  # between two candidates, so that neither can be preferred
AGAIN_S = 0.25
FRAME = bytes(64)
_XDP, _CALL, _RSH, _EXIT, _JIFFIES64 = 6, 0x85, 0x77, 0x95, 118


@dataclass(frozen=True, slots=True, kw_only=True)
class Jiffies:
    """Counts on from `count` at `monotonic_s`, `rate_per_s` each second (CLOCK_MONOTONIC)."""

    count: int
    monotonic_s: float
    rate_per_s: int

    def at(self, monotonic_s: float) -> int:
        """The number at a moment; at least 1, as 0 is no deadline."""
        return max(1, self.count + round((monotonic_s - self.monotonic_s) * self.rate_per_s))


def measure() -> Jiffies:
    """The jiffies of this kernel. Raises OSError without the right to load a program, or for an unknown HZ."""
    low, high = bpf.TestRun(fd := _program(0)), bpf.TestRun(other := _program(32))

    def look() -> tuple[int, float]:
        return high(FRAME)[0] << 32 | low(FRAME)[0], time.monotonic()

    try:
        count, now_s = look()
        rates = rates_of(count, now_s)
        if not rates:
            raise OSError(f"{count} jiffies at {now_s:.1f} s go with no HZ of {RATES_PER_S}")
        if len(rates) > 1:
            time.sleep(AGAIN_S)
            later, later_s = look()
            rates = sorted(rates, key=lambda rate: abs((later - count) / (later_s - now_s) - rate))
    finally:
        os.close(fd)
        os.close(other)
    return Jiffies(count=count, monotonic_s=now_s, rate_per_s=rates[0])


def rates_of(count: int, monotonic_s: float) -> list[int]:
    """The HZ at which `count` jiffies go with a time since boot, the best one first; none if there is none.

    More than one only where they go with it nearly as well.
    """
    off = {rate: abs((count - (1 << 32) + 300 * rate) / rate - monotonic_s) for rate in RATES_PER_S}
    least = min(off.values())
    alike = [rate for rate in off if off[rate] < min(OFF_S, least + ALIKE_S)]
    return sorted(alike, key=off.__getitem__)


def _program(shift: int) -> int:
    """The descriptor of a program that returns 32 bits of jiffies64."""
    code = b"".join(
        struct.pack("<BBhi", *each) for each in ((_CALL, 0, 0, _JIFFIES64), (_RSH, 0, 0, shift), (_EXIT, 0, 0, 0))
    )
    made = bpf.library().bpf_prog_load(_XDP, b"gtm_jiffies", b"Dual BSD/GPL", code, c.c_size_t(len(code) // 8), None)
    return bpf.check(made, "load gtm_jiffies")
