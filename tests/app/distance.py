"""Two networks with a long way between them: packets are relayed from tun to tun, each WAY_S later.

`python -m tests.app.distance STATE`, in a network namespace of its own, measures the way with everything that gtm has
for it, while a DNS worker serves the tables in STATE, and prints what each said as JSON, in seconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import heapq
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from gtm.app.rtt_agent import gather
from gtm.model.rtt import RttKind, RttSample, RttTarget
from gtm.observe.rtt.active import ActiveRtt
from gtm.observe.rtt.ring import RttRing
from gtm.observe.rtt.sockdiag import peers
from tests.answer.test_paths import query
from tests.app.worker import framed, receive, worker

WAY_S = 0.04  # one way
HERE, THERE, PORT = "10.8.0.1", "10.8.0.2", 5300
DEADLINE_S = 60.0
CLONE_NEWNET = 0x40000000
Sock = Callable[[], socket.socket]


def main(state: Path) -> None:
    here = tunnel(HERE, THERE)
    far = ThreadPoolExecutor(1)  # its thread lives in the other namespace
    there = far.submit(settle).result()
    Thread(target=relay, args=(here, there), daemon=True).start()

    def away(work: Sock) -> socket.socket:
        return far.submit(work).result(DEADLINE_S)

    listener = away(lambda: socket.create_server((THERE, PORT)))
    answers = away(lambda: bound_udp(PORT + 1))
    Thread(target=refuse, args=(answers,), daemon=True).start()
    print(json.dumps({**served(state, away), **asyncio.run(probed())}))
    listener.close()


def served(state: Path, away: Callable[[Sock], socket.socket]) -> dict[str, float]:
    """What a worker and an agent say of a client that is there."""
    rings = RttRing(state / "workers", "here")
    with worker(state, f"{HERE}:{PORT}"):
        rings.drain()
        clients = [away(lambda: socket.create_connection((HERE, PORT), DEADLINE_S)) for _ in range(5)]
        for client in clients:  # not all may be in step with a busy machine: what is sent twice tells nothing
            client.sendall(framed(query("www.example.com.")))
            assert receive(client)
        [seen] = gather("here", peers(PORT), include_private=True).samples
        for client in clients:
            client.close()
        samples: list[RttSample] = []
        deadline_s = time.monotonic() + DEADLINE_S
        while not samples and time.monotonic() < deadline_s:
            samples = rings.drain()
            time.sleep(0.01)
    return {"passive": samples[0].rtt_s, "agent": seen.rtt_ms / 1e3}


async def probed() -> dict[str, float]:
    """What probes from here say."""
    kinds = {RttKind.ICMP: 0, RttKind.TCP: PORT, RttKind.DNS: PORT + 1}
    found: dict[str, float] = {}
    for kind, port in kinds.items():
        target = RttTarget(address=ip_address(THERE), kind=kind, port=port)
        samples: list[RttSample] = []
        probing = ActiveRtt([target], "here", interval_s=0.5, timeout_s=30.0, on_samples=samples.extend)
        task = asyncio.create_task(probing.run())
        async with asyncio.timeout(DEADLINE_S):
            while not samples:  # noqa: ASYNC110 - they come by a callback
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found[str(kind)] = samples[0].rtt_s
    return found


def settle() -> int:
    """Move this thread to a namespace of its own; its end of the tunnel."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return tunnel(THERE, HERE)


def tunnel(own: str, other: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"t0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    for command in ("link set lo up", "link set t0 up", f"addr add {own} peer {other} dev t0"):
        subprocess.run(["ip", *command.split()], check=True)
    return tun


def relay(here: int, there: int) -> None:
    """Every packet comes out at the other end WAY_S after it went in."""
    under_way: list[tuple[float, int, int, bytes]] = []
    other = {here: there, there: here}
    number = 0
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for tun in select.select([here, there], [], [], wait_s)[0]:
            packet = os.read(tun, 2000)
            number += 1
            heapq.heappush(under_way, (time.monotonic() + WAY_S, number, other[tun], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, tun, packet = heapq.heappop(under_way)
            os.write(tun, packet)


def bound_udp(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((THERE, port))
    return sock


def refuse(sock: socket.socket) -> None:
    while True:
        asked, client = sock.recvfrom(512)
        sock.sendto(asked[:2] + b"\x80\x05" + asked[4:], client)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
