"""Rights are given up in a process of its own: they do not come back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gtm.app.balance.capabilities import Capability, kept

CODE = """
import socket, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from gtm.app.balance.capabilities import Capability, drop, effective
keep = {Capability.BPF, Capability.NET_RAW}
assert effective() > keep
assert drop(keep) == keep
with ThreadPoolExecutor(1) as thread:
    assert thread.submit(effective).result() == keep
child = subprocess.run(
    [sys.executable, "-c", "from gtm.app.balance.capabilities import effective; print(sorted(effective()))"],
    capture_output=True, text=True, check=True,
)
print(child.stdout.strip())
try:
    socket.sethostname(socket.gethostname())
except PermissionError:
    print("refused")
"""


def test_given_up_for_good() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, whose rights there are to give up")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    left, refused = done.stdout.splitlines()
    assert set(map(int, left.strip("[]").split(","))) <= {Capability.BPF, Capability.NET_RAW}
    assert refused == "refused"


def test_what_is_kept() -> None:
    assert kept(marks=False) == {Capability.BPF, Capability.NET_RAW}
    assert kept(marks=True) == {Capability.BPF, Capability.NET_RAW, Capability.NET_ADMIN}
