"""A bpffs of a test's own, so that nothing of it stays pinned on the machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(at: Path) -> Iterator[Path]:
    """The folder `at`, made, with a bpffs mounted on it until the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a bpffs")
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "bpf", "bpf", str(at)], check=True, timeout=30)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True, timeout=30)
