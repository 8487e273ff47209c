"""The floor for Python: the shortest loop that gets these questions right, and nothing else of a nameserver."""

from __future__ import annotations

import platform
import socket
import sys
from ipaddress import IPv4Address
from pathlib import Path
from struct import pack

from bench.netns import SERVER
from bench.peers.server import PORT, Server, Site
from bench.question import NAME, REGIONS, TTL_S, wire_name


class Loop(Server):
    """recvfrom, one read in a table by the /24, sendto; no parsing, no case, no errors, no other names."""

    tag = "loop"
    title = "Python loop (floor)"
    programs = (sys.executable,)

    def version(self) -> str:
        return platform.python_version()

    def write(self, site: Site) -> None:
        """The table comes from the benchmark: `regions24`."""

    def command(self, site: Site) -> list[str]:
        return [sys.executable, "-m", "bench.peers.loop", str(site.regions24)]


def serve(table: bytes) -> None:
    """Answer for ever. A query is taken for what the generators send: NAME, A, without EDNS or with ECS for a /24."""
    question = wire_name(NAME) + pack(">HH", 1, 1)
    flags = bytes([0x84, 0, 0, 1, 0, 1, 0, 0])
    plain = len(question) + 12
    record = pack(">HHHIH", 0xC00C, 1, 1, TTL_S, 4)
    answers = [question + record + IPv4Address(address).packed for address in REGIONS.values()]
    plains = [flags + bytes([0, 0]) + answer for answer in answers]
    opt = b"\0" + pack(">HHIHHHHBB", 41, 1232, 0, 11, 8, 7, 1, 24, 24)
    located = [flags + bytes([0, 1]) + answer + opt for answer in answers]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((SERVER, PORT))
    receive, send, address_of, number = sock.recvfrom, sock.sendto, socket.inet_aton, int.from_bytes
    while True:
        query, client = receive(512)
        if len(query) == plain:
            send(query[:2] + plains[table[number(address_of(client[0])[:3], "big")]], client)
        else:
            network = query[-3:]
            send(query[:2] + located[table[number(network, "big")]] + network, client)


if __name__ == "__main__":
    serve(Path(sys.argv[1]).read_bytes())
