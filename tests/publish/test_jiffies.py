"""The kernel's clock of deadlines, as user space works it out."""

from __future__ import annotations

import os
import time

import pytest

from gtm.publish.dataplane import jiffies
from gtm.publish.dataplane.jiffies import RATES_PER_S, Jiffies, measure, rates_of


@pytest.mark.parametrize("rate", RATES_PER_S)
@pytest.mark.parametrize("up_s", [0.5, 250.0, 350.0, 3600.0, 86400.0 * 400])
def test_the_rate_follows_from_the_time_since_boot(rate: int, up_s: float) -> None:
    count = (1 << 32) - 300 * rate + round(up_s * rate)
    assert rates_of(count, up_s) == [rate]


def test_what_goes_with_no_rate_and_with_all() -> None:
    assert rates_of(1, 5000.0) == []
    assert sorted(rates_of(1 << 32, 300.0)) == list(RATES_PER_S)
    assert rates_of((1 << 32) + 250, 301.0)[0] == 250


def test_a_second_look_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads a BPF program")
    first = measure()
    monkeypatch.setattr(jiffies, "rates_of", lambda _count, _s: list(RATES_PER_S))
    assert measure().rate_per_s == first.rate_per_s


def test_counting_on() -> None:
    known = Jiffies(count=4_295_000_000, monotonic_s=100.0, rate_per_s=250)
    assert known.at(100.0) == 4_295_000_000
    assert known.at(104.0) == 4_295_001_000
    assert known.at(-1e9) == 1  # 0 would be no deadline


def test_of_this_kernel() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads a BPF program")
    first = measure()
    assert first.rate_per_s in RATES_PER_S
    before_s = time.monotonic()
    second = measure()
    after_s = time.monotonic()
    assert first.at(before_s) - 2 <= second.count <= first.at(after_s) + 2
