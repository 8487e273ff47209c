"""Hosts behind a tun device that answer ICMP echo late, wrongly or not at all. Runs in a network namespace of its own.

`python -m tests.observe.rtt.echoing KIND` prints as JSON what `Echoes` made of each host, by its last octet.
KIND: `ping` (ping sockets), `raw` (raw sockets) or `none` (the right to neither).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path

from gtm.model.errors import GtmError
from gtm.observe.ping import Echoes, checksum

LATE_S = 0.05
LATE, WRONG_TOKEN, WRONG_SOURCE, TWICE, SILENT, UNREACHABLE, OTHER_NUMBER = range(10, 17)
STALL_S = 2.0


def main(kind: str) -> None:
    tun = tunnel()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    group = "0 2147483647" if kind == "ping" else "1 0"
    Path("/proc/sys/net/ipv4/ping_group_range").write_text(group)
    if kind == "none":
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        print(json.dumps(asyncio.run(refused())))
        return
    threading.Thread(target=answer, args=(tun,), daemon=True).start()
    print(json.dumps(asyncio.run(ask())))


def tunnel() -> int:
    """A tun device that 10.9.0.0/24 and fd09::/64 are behind."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"t0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    for command in ("link set t0 up", "addr add 10.9.0.1/24 dev t0", "addr add fd09::1/64 dev t0 nodad"):
        subprocess.run(["ip", *command.split()], check=True)
    return tun


async def ask() -> dict[str, object]:
    echoes = Echoes()
    loop = asyncio.get_running_loop()
    hosts = [f"10.9.0.{last}" for last in range(LATE, OTHER_NUMBER + 1)]
    hosts += [f"fd09::{last}" for last in range(LATE, OTHER_NUMBER + 1)]
    answers = await asyncio.gather(*(echoes.echo(ip_address(host), 1.0) for host in hosts))
    found: dict[str, object] = dict(zip(hosts, answers, strict=True))
    # The loop does something else while the reply comes: that is no part of its way.
    waiting = [asyncio.create_task(echoes.echo(ip_address(host), 30.0)) for host in ("10.9.0.10", "fd09::10")]
    await asyncio.sleep(0)
    time.sleep(STALL_S)  # noqa: ASYNC251 - the loop is held up on purpose
    found["stalled"] = [await task for task in waiting]
    # Whoever waits when it is closed is told.
    last = asyncio.create_task(echoes.echo(ip_address("10.9.0.14"), 30.0))
    await asyncio.sleep(0)
    closed_at_s = loop.time()
    echoes.close()
    found["closed"] = await last
    found["closing"] = loop.time() - closed_at_s
    return found


async def refused() -> list[str]:
    """What is said where there is no right to send."""
    said = []
    for host in ("10.9.0.10", "fd09::10"):
        try:
            Echoes().send(ip_address(host), 1.0, print)
        except GtmError as error:
            said.append(str(error))
    return said


def answer(tun: int) -> None:
    while True:
        packet = os.read(tun, 2000)
        threading.Thread(target=reply_to, args=(tun, packet), daemon=True).start()


def reply_to(tun: int, packet: bytes) -> None:
    six = packet[0] >> 4 == 6
    if packet[6 if six else 9] != (58 if six else 1):
        return
    head = 40 if six else (packet[0] & 15) * 4
    source, to = (packet[8:24], packet[24:40]) if six else (packet[12:16], packet[16:20])
    echo = packet[head:]
    if echo[0] != (128 if six else 8):
        return
    host = int(f"{to[-1]:x}") if six else to[-1]
    if host == SILENT:
        return
    time.sleep(LATE_S)
    number = struct.unpack("!H", echo[6:8])[0] ^ (0x5555 if host == OTHER_NUMBER else 0)
    body = echo[8:] if host != WRONG_TOKEN else bytes(len(echo) - 8)
    kind, code = (129, 0) if six else (0, 0)
    reply = echo[4:6] + struct.pack("!H", number) + body
    if host == UNREACHABLE:
        kind, code = (1, 0) if six else (3, 1)
        reply = bytes(4) + packet[: head + 16]
    if host == WRONG_SOURCE:
        to = to[:-1] + b"\x99"
    for _ in range(2 if host == TWICE else 1):
        os.write(tun, made(six=six, kind=kind, code=code, rest=reply, source=to, to=source))


def made(*, six: bool, kind: int, code: int, rest: bytes, source: bytes, to: bytes) -> bytes:
    """An IP packet with an ICMP message in it."""
    message = bytes((kind, code, 0, 0)) + rest
    message += bytes(len(message) % 2)
    if six:
        pseudo = source + to + struct.pack("!II", len(message), 58)
        message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
        return struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + source + to + message
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 1, 0, 64, socket.IPPROTO_ICMP, 0) + source + to
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + message


if __name__ == "__main__":
    main(sys.argv[1])
