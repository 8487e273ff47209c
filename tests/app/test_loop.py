"""The loop of gtm's processes: what falls into its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from gtm.app.loop import Loop, run


def test_a_signal_as_it_closes_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes when the pipe for signals is closed; asyncio's own loop reports a bad descriptor then."""
    wrong: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", wrong.append)
    loop = Loop()
    close_pipe = loop._close_self_pipe  # type: ignore[attr-defined]

    def close_and_signal() -> None:
        close_pipe()
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(loop, "_close_self_pipe", close_and_signal)
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)
    loop.close()
    loop.close()
    assert not wrong


def test_it_runs_to_a_result_and_takes_signals() -> None:
    async def main() -> str:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(60):
            await heard.wait()
        return "heard"

    assert run(main()) == "heard"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
