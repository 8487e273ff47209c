"""Balanced packets a second on one core: live frames by a veth pair to the balancer and back (kernel 5.18).

One core makes the frames (dataplane/src/harness.bpf.c), balances them and counts what comes back; a balancer that has a
core for itself does more. "bounce" balances nothing: what the way itself takes.
"""

from __future__ import annotations

import ctypes as c
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.link import XDP_FLAGS, LinkCreateOpts
from tests.lab.network import Host

if TYPE_CHECKING:
    from bench.l4 import Bench

LIVE_FRAMES, BATCH = 2, 64
NEAR, FAR = "near", "far"


@contextmanager
def pair() -> Iterator[Host]:
    """A namespace with a veth pair of one queue; gone at the end."""
    host = Host(name=f"l4-{os.getpid()}", link=NEAR)
    ip = ("ip", "-n", host.name, "link")
    subprocess.run(["ip", "netns", "add", host.name], check=True)
    try:
        queues = ("numrxqueues", "1", "numtxqueues", "1")
        ends = (NEAR, *queues, "type", "veth", "peer", "name", FAR, *queues)
        subprocess.run([*ip, "add", *ends], check=True)
        for end in (NEAR, FAR):
            subprocess.run([*ip, "set", end, "addrgenmode", "none", "up"], check=True)  # no frames but ours
        yield host
    finally:
        subprocess.run(["ip", "netns", "del", host.name], check=True)


def attach(program: int, interface: str) -> int:
    """The descriptor of a link that holds a program to an interface, in its driver."""
    options = LinkCreateOpts(sz=c.sizeof(LinkCreateOpts), flags=XDP_FLAGS["native"])
    number = socket.if_nametoindex(interface)
    return bpf.check(bpf.library().bpf_link_create(program, number, bpf.XDP, c.byref(options)), interface)


class Sender:
    """Sends live frames out of the near end, each of another flow, and counts what comes back."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._links = [attach(bench.harness.program("gtm_sink"), NEAR)]
        self._program = bench.harness.program("gtm_generate")
        self._number = socket.if_nametoindex(NEAR)

    def to(self, program: int) -> None:
        """Has the program at the far end."""
        while len(self._links) > 1:
            os.close(self._links.pop())
        self._links.append(attach(program, FAR))

    def __call__(self, frame: bytes, *, flows: int, count: int) -> tuple[float, int]:
        """(seconds, how many of `count` frames came back)."""
        padded = frame.ljust(120, b"\0")
        template = self._bench.template
        # A byte too many, which the program cuts: else a frame keeps the length that it had when it last went out.
        template["length"], template["flows"], template["received"] = len(padded) + 1, flows, 0
        template["six"] = frame[12:14] == b"\x86\xdd"
        template["bytes"] = np.frombuffer(padded[:80], np.uint8)
        data = c.create_string_buffer(padded, len(padded) + 1)
        context = c.create_string_buffer(struct.pack("=6I", 0, len(padded) + 1, 0, self._number, 0, 0), 24)
        options = bpf.TestRunOpts(sz=c.sizeof(bpf.TestRunOpts), repeat=count, flags=LIVE_FRAMES, batch_size=BATCH)
        options.data_in, options.data_size_in = c.addressof(data), len(padded) + 1
        options.ctx_in, options.ctx_size_in = c.addressof(context), 24
        start_s = time.perf_counter()
        bpf.check(bpf.library().bpf_prog_test_run_opts(self._program, c.byref(options)), "live frames")
        return time.perf_counter() - start_s, int(template["received"])

    def close(self) -> None:
        """Takes the programs off."""
        for link in self._links:
            os.close(link)


def measure(
    bench: Bench, rows: Mapping[str, tuple[int, bytes, int]], *, rounds: int, count: int
) -> dict[str, tuple[float, float, int]]:
    """By row: (best and median million packets a second, packets that did not come back)."""
    with pair() as host:
        return host.inside(lambda: _measure(bench, rows, rounds=rounds, count=count))


def _measure(
    bench: Bench, rows: Mapping[str, tuple[int, bytes, int]], *, rounds: int, count: int
) -> dict[str, tuple[float, float, int]]:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sender = Sender(bench)
    rates: dict[str, list[float]] = {name: [] for name in rows}
    lost = dict.fromkeys(rows, 0)
    try:
        for _ in range(rounds):
            for name, (program, frame, flows) in rows.items():
                sender.to(program)
                sender(frame, flows=flows, count=BATCH * 16)
                took_s, back = sender(frame, flows=flows, count=count)
                rates[name].append(back / took_s / 1e6)
                lost[name] += count - back
    finally:
        sender.close()
    return {name: (max(found), sorted(found)[len(found) // 2], lost[name]) for name, found in rates.items()}
