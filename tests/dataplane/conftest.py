from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtm.publish.dataplane.maps import OBJECT
from tests.dataplane.kernel import Kernel
from tests.dataplane.world import tables

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs, built now; without clang and libbpf-dev nothing here can run."""
    if not shutil.which("clang") or not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("needs clang and libbpf-dev")
    folder = tmp_path_factory.mktemp("bpf")
    for name in ("balance", "guard", "decap", "check", "harness", "flood", "sample"):
        target = f"gtm/publish/dataplane/{name}.bpf.o"
        # Built beside the tests and not in the tree: workers of one run must not write one file.
        shown = subprocess.run(["make", "-B", "-n", "-s", target], cwd=ROOT, capture_output=True, text=True, check=True)
        command = shown.stdout.replace(target, str(folder / OBJECT.with_name(f"{name}.bpf.o").name))
        subprocess.run(["sh", "-ec", command.lstrip("@")], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def kernel(built: Path) -> Iterator[Kernel]:
    """The programs in this machine's kernel, with the tables of tests.dataplane.world."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with Kernel(built, tables()) as loaded:
        yield loaded
