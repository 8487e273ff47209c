"""Whole frames through the real program, with the headroom full of 0xff, against the model and against the table."""

from __future__ import annotations

import pytest

from gtm.decide.balance import TCP, Verdict, balance
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
