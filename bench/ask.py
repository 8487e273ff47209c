"""The checking pass: every query once, from its own client's address, and the whole reply read with dnspython.

Runs as a program of its own (`python -m bench.ask`) inside the client's namespace.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import numpy as np

TRIES = 3
TIMEOUT_S = 1.0
CLIENT_BY_SOURCE = "source"
CLIENT_BY_ECS = "ecs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How many queries were asked, and what was wrong (at most ten of them)."""

    asked: int
    wrong: int
    faults: tuple[str, ...]


def exchange(server: tuple[str, int], query: bytes, source: str | None, timeout_s: float = TIMEOUT_S) -> bytes | None:
    """The reply to one query sent from `source`, or None after TRIES tries."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        if source is not None:
            sock.bind((source, 0))
        sock.connect(server)
        for _ in range(TRIES):
            try:
                sock.send(query)
                return sock.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                continue
    return None


def fault(query: bytes, reply: bytes | None, expected: str) -> str | None:
    """What is wrong with a reply, or None: ID, question, flags, the one address, the ECS option (RFC 7871 7.2.1)."""
    if reply is None:
        return "no reply"
    asked, told = dns.message.from_wire(query), dns.message.from_wire(reply)
    if not asked.is_response(told):
        return "not a response to this query"
    if told.rcode() != dns.rcode.NOERROR or not told.flags & dns.flags.AA:
        return f"{dns.rcode.to_text(told.rcode())}, flags {dns.flags.to_text(told.flags)}"
    addresses = [str(rdata) for rrset in told.answer if rrset.rdtype == dns.rdatatype.A for rdata in rrset]
    if addresses != [expected]:
        return f"answered {addresses}, expected {expected}"
    sources = [option for option in asked.options if isinstance(option, dns.edns.ECSOption)]
    echoes = [option for option in told.options if isinstance(option, dns.edns.ECSOption)]
    if not sources:
        return f"unasked ECS option {echoes[0].to_text()}" if echoes else None
    if len(echoes) != 1 or (echoes[0].address, echoes[0].srclen) != (sources[0].address, sources[0].srclen):
        return f"ECS {sources[0].to_text()} not echoed: {[echo.to_text() for echo in echoes]}"
    return None if echoes[0].scopelen <= 32 else f"ECS scope {echoes[0].scopelen}"


def check(file: Path, server: tuple[str, int], by: str, limit: int) -> Checked:
    """Ask the first `limit` queries of a file."""
    faults: list[str] = []
    with np.load(file) as stored:
        packets, expected, clients = stored["packets"][:limit], stored["expected"], stored["clients"]
    for row, packet in enumerate(packets):
        client = str(IPv4Address(int(clients[row])))
        query = packet.tobytes()
        reply = exchange(server, query, client if by == CLIENT_BY_SOURCE else None)
        wrong = fault(query, reply, str(IPv4Address(int(expected[row]))))
        if wrong is not None:
            faults.append(f"client {client}: {wrong}")
    return Checked(asked=len(packets), wrong=len(faults), faults=tuple(faults[:10]))


def wait(file: Path, server: tuple[str, int], limit_s: float) -> float | None:
    """Seconds until the first query of a file had its right answer, or None if `limit_s` passed first."""
    start = time.monotonic()
    with np.load(file) as stored:
        query, expected = stored["packets"][0].tobytes(), str(IPv4Address(int(stored["expected"][0])))
    while time.monotonic() < start + limit_s:
        reply = exchange(server, query, None, timeout_s=0.05)
        if reply is not None and fault(query, reply, expected) is None:
            return time.monotonic() - start
        time.sleep(0.02)
    return None


def main() -> int:
    """The program: prints what it found as JSON; exit code 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="queries and expected answers (.npz)")
    parser.add_argument("server", help="ADDR:PORT")
    parser.add_argument("--by", choices=(CLIENT_BY_SOURCE, CLIENT_BY_ECS), default=CLIENT_BY_ECS)
    parser.add_argument("--limit", type=int, default=1000, help="how many of the file's queries (default 1000)")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="only wait for the first right answer")
    arguments = parser.parse_args()
    host, _, port = arguments.server.rpartition(":")
    server = (host, int(port))
    if arguments.wait is not None:
        took_s = wait(arguments.file, server, arguments.wait)
        json.dump({"first_answer_s": took_s}, sys.stdout)
        return 0 if took_s is not None else 1
    checked = check(arguments.file, server, arguments.by, arguments.limit)
    json.dump(asdict(checked), sys.stdout)
    return 1 if checked.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
