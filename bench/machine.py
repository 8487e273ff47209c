"""What the figures were measured on, and what else used the processor meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


def describe() -> dict[str, str]:
    """CPU, cores, kernel, system and Python, for the head of a table."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    release = Path("/etc/os-release")
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', release.read_text(), re.MULTILINE) if release.exists() else None
    return {
        "cpu": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores"
        + (", virtual machine" if "hypervisor" in info else ""),
        "kernel": platform.release(),
        "system": system[1] if system else platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


@contextlib.contextmanager
def first() -> Iterator[None]:
    """Put this process and its children before all others at the scheduler, so that these disturb less (root only)."""
    group = Path("/proc/self/autogroup")  # where the kernel groups by session, nice counts within the session only
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        if group.exists():
            group.write_text("-20")
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
            if group.exists():
                group.write_text("0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime:
    """Nanoseconds that some processes ran, and that they waited for a core that others were using."""

    run_ns: int
    wait_ns: int

    def __sub__(self, before: CpuTime) -> CpuTime:
        return CpuTime(run_ns=self.run_ns - before.run_ns, wait_ns=self.wait_ns - before.wait_ns)


def cpu_time(pids: Iterable[int]) -> CpuTime:
    """The CPU time of all threads of the processes, from /proc/PID/task/TID/schedstat."""
    run_ns = wait_ns = 0
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                ran, waited, _ = stat.read_text().split()
            except OSError:
                continue  # the thread has just ended
            run_ns += int(ran)
            wait_ns += int(waited)
    return CpuTime(run_ns=run_ns, wait_ns=wait_ns)


def rss_bytes(pid: int) -> dict[str, int]:
    """A process's resident memory by kind: {"rss": ..., "anon": ..., "file": ..., "pss": ...}."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {key: int(value) * 1024 for key, value in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
    rollup = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return {
        "rss": found.get("VmRSS", 0),
        "anon": found.get("RssAnon", 0),
        "file": found.get("RssFile", 0) + found.get("RssShmem", 0),
        "pss": int(rollup[1]) * 1024 if rollup else 0,
    }


def children(pid: int) -> list[int]:
    """The process and all that descend from it, itself first."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return found
