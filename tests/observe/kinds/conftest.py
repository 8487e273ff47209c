"""What holds for every kind: no descriptor and no child is left, and a busy machine is no stall."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from gtm.observe import probe as probe_module


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    gc.collect()  # what earlier tests left for it holds descriptors too
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ChildProcessError):  # no zombie either
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)


@pytest.fixture(autouse=True)
def a_busy_machine_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "STALL_S", 60.0)
