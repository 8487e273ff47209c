"""Whole frames through the real program, with the headroom full of 0xff, against the model and against the table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gtm.decide.balance import TCP, UDP, Verdict, balance
from tests.dataplane import world as w
from tests.dataplane.cases import Case, all_cases
from tests.dataplane.kernel import Kernel, action

CASES = all_cases()


def test_there_are_enough_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 300


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model(case: Case) -> None:
    assert balance(case.frame, w.tables())[0] is case.verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernel(kernel: Kernel, case: Case) -> None:
    kernel.forget()
    before = kernel.verdicts()
    ran, out = kernel.run(case.frame)
    after = kernel.verdicts()
    assert {verdict: after[verdict] - before[verdict] for verdict in after if after[verdict] != before[verdict]} == {
        case.verdict: 1
    }
    assert ran == action(case.verdict)
    assert out.hex() == balance(case.frame, w.tables())[1].hex()


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("tags", range(3))
def test_truncated_at_every_byte(kernel: Kernel, family: int, tags: int) -> None:
    """Cut anywhere, a frame passes untouched; with its length cut too, it is a shorter packet or passes."""
    kernel.forget()
    for payload, protocol in ((w.tcp(), TCP), (w.quote(family, 2), 1 if family == 4 else 58)):
        whole = w.frame(w.packet(family, w.vip(family, 2), payload, protocol=protocol), tags=tags)
        for size in range(14, len(whole)):
            cut = whole[:size]
            assert kernel.run(cut) == (action(Verdict.PASS_TRUNCATED), cut)
            assert balance(cut, w.tables()) == (Verdict.PASS_TRUNCATED, cut)


def test_a_golden_packet(kernel: Kernel) -> None:
    """One frame byte by byte, written by hand, so that model and program cannot be wrong alike."""
    frame = bytes.fromhex(
        "020000000001 020000000002 0800"
        "4500 0028 0000 4000 4006 ffff c6336407 c0000202"
        "9c40 0050 00000001 00000002 5002 2000 beef 0000".replace(" ", "")
    )
    ran, out = kernel.run(frame)
    assert ran == action(Verdict.TX_FORWARD)
    assert out[:14].hex() == "0200000000aa" + "020000000001" + "0800"
    assert out[14:24].hex() == "4500003c000040004004"
    assert out[26:28].hex() == "ac10"
    assert out[30:34].hex() == "0a000002"
    words = [int.from_bytes(out[i : i + 2], "big") for i in range(14, 34, 2)]
    assert sum(words) % 0xFFFF == 0
    assert out[34:] == frame[14:]


def test_answers_have_a_rate(kernel: Kernel) -> None:
    """As many at once as the settings allow and not one more, until the gap is over; here it never is."""
    settings = kernel.balancer.settings
    frame = w.frame(w.packet(4, w.vip(4, w.TOO_SMALL), w.udp(payload=bytes(90)), protocol=UDP))
    left = iter((True, True, True, False, False))
    tables = replace(w.tables(), may_tell=lambda: next(left))
    with one_cpu():
        kernel.balancer.counters["answers"] = 0
        settings["answer_burst"], settings["answer_gap_ns"] = 3, 10**18
        try:
            for _ in range(5):
                verdict, left_frame = balance(frame, tables)
                assert kernel.run(frame) == (action(verdict), left_frame)
        finally:
            settings["answer_gap_ns"] = 0
    assert next(left, None) is None


@contextmanager
def one_cpu() -> Iterator[None]:
    """The rate is each CPU's own: a test-run happens on the caller's."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
