"""What round-trip times cost: probes in CPU of one core, a million lines of CSV, what a TCP client leaves, an agent's
look at many connections. `python bench/rtt.py` needs root, or a group in net.ipv4.ping_group_range, for ICMP.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import asyncio
import json
import multiprocessing
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

from gtm.model.rtt import RttKind, RttTarget
from gtm.observe.rtt import tcpinfo
from gtm.observe.rtt.active import ActiveRtt
from gtm.observe.rtt.csvfile import csv_scan
from gtm.observe.rtt.readings import checked
from gtm.observe.rtt.ring import Measured, RingReader, RingWriter
from gtm.observe.rtt.sockdiag import peers

IP_PKTINFO = 8

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=5000)
    parser.add_argument("--interval", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="a few seconds for each, and a tenth of the lines")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.lines = 4.0, options.lines // 10
    figures: dict[str, Figures] = {}
    for kind in RttKind:
        figures[str(kind)] = active(kind, options.targets, options.interval, options.seconds)
    figures["csv"] = csv(options.lines)
    figures["passive"] = passive()
    figures["agent"] = agent(options.connections)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for name, found in figures.items():
        print(f"{name:8}", ", ".join(f"{what} {value:g}" for what, value in found.items()))


def active(kind: RttKind, count: int, interval_s: float, seconds: float) -> Figures:
    """CPU of this process while it measures to so many addresses of loopback; the peer is another process."""
    with peer(kind) as port:
        targets = [RttTarget(address=IPv4Address("127.1.0.1") + n, kind=kind, port=port) for n in range(count)]
        return asyncio.run(measured(targets, interval_s, seconds))


async def measured(targets: list[RttTarget], interval_s: float, seconds: float) -> Figures:
    times: list[float] = []
    probing = ActiveRtt(
        targets,
        "here",
        interval_s=interval_s,
        timeout_s=2.0,
        on_samples=lambda samples: times.extend(one.rtt_s for one in samples),
    )
    task = asyncio.create_task(probing.run())
    await asyncio.sleep(2)
    cpu_s, wall_s, sent = time.process_time(), time.monotonic(), probing.counters.sent
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    rate = (probing.counters.sent - sent) / (time.monotonic() - wall_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    times.sort()
    return {
        "targets": len(targets),
        "interval_s": interval_s,
        "per_s": round(rate, 1),
        "cpu_share": round(share, 4),
        "lost": probing.counters.lost,
        "median_us": round(times[len(times) // 2] * 1e6, 1),
    }


@contextmanager
def peer(kind: RttKind) -> Iterator[int]:
    """Somebody on every address of loopback who answers, in a process of its own; its port."""
    serves: dict[RttKind, Callable[[socket.socket], None]] = {RttKind.TCP: accept, RttKind.DNS: answer}
    if kind is RttKind.ICMP:  # the kernel answers
        yield 0
        return
    sort = socket.SOCK_STREAM if kind is RttKind.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, sort) as sock:
        sock.bind(("0.0.0.0", 0))
        if kind is RttKind.TCP:
            sock.listen(1000)
        process = multiprocessing.Process(target=serves[kind], args=(sock,), daemon=True)
        process.start()
        try:
            yield sock.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def accept(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


def answer(sock: socket.socket) -> None:
    """REFUSED, from the address that was asked."""
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    while True:
        query, [(_, _, where)], _, client = sock.recvmsg(512, 64)
        source = [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + where[4:8] + bytes(4))]
        sock.sendmsg([query[:2] + b"\x80\x05" + query[4:]], source, 0, client)


def csv(count: int) -> Figures:
    chosen = random.Random(1)
    with tempfile.NamedTemporaryFile("w+b", suffix=".csv") as file:
        for _ in range(count):
            prefix = f"{IPv4Address(chosen.getrandbits(24) << 8)}/24"
            file.write(f"{prefix},us-east,{chosen.uniform(1, 300):.2f}\n".encode())
        file.seek(0)
        began_s = time.perf_counter()
        samples, _ = checked(file, "bench.csv", csv_scan(0.0, {"us-east"}))
        read = sum(1 for _ in samples)
        return {"lines": read, "seconds": round(time.perf_counter() - began_s, 2)}


def passive(rounds: int = 20_000) -> Figures:
    """What a worker does for each TCP connection that ends."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        path = Path(folder) / "dns-0.rtts"
        writer = RingWriter(path)
        reader = RingReader(path)
        reader.read()
        began_s = time.perf_counter()
        for _ in range(rounds):
            if writer.wanted() and (rtt_s := tcpinfo.clean_s(tcpinfo.of(server))) is not None:
                writer.put(Measured(b"\x7f\0\0\1", rtt_s, time.time()))
        each_s = (time.perf_counter() - began_s) / rounds
        began_s = time.perf_counter()
        found = len(reader.read())
        read_s = (time.perf_counter() - began_s) / found
        client.close()
        server.close()
    return {"write_us": round(each_s * 1e6, 2), "read_us": round(read_s * 1e6, 2)}


def agent(count: int) -> Figures:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
        for _ in range(count):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])
        began_s = time.perf_counter()
        found = sum(1 for _ in peers(listener.getsockname()[1]))
        return {"connections": found, "ms": round((time.perf_counter() - began_s) * 1e3, 1)}


if __name__ == "__main__":
    main()
