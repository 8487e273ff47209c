"""The benchmark's own parts that decide whether an answer counts as right."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path

import dns.edns
import dns.message
import maxminddb
import numpy as np
import pytest

from bench import database
from bench import dns as program
from bench.ask import fault
from bench.load import Checker
from bench.peers.knot import Knot
from bench.peers.server import Server
from bench.question import NAME, Geo, ecs_queries, query, wire_name

CODES = ["", "GB", "US", "JP"]


@pytest.fixture
def geo(tmp_path: Path) -> Geo:
    table = np.zeros(1 << 24, dtype=np.uint16)
    table[0x010000:0x500000] = 2
    table[0x500000:0x600000] = 1
    table[0x600000:0x600001] = 3
    path = tmp_path / "some.mmdb"
    database.write(path, table, CODES)
    return Geo(path)


def reply(packet: bytes, address: str, *, flags: bytes = b"\x84\x00") -> bytes:
    question = wire_name(NAME) + b"\0\1\0\1"
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 30, 4) + IPv4Address(address).packed
    counts = b"\0\1\0\1\0\0" + packet[10:12]
    return packet[:2] + flags + counts + question + record + packet[12 + len(question) :]


def test_written_database_is_what_the_table_says(geo: Geo) -> None:
    with maxminddb.open_database(str(geo.path)) as reader:
        assert reader.metadata().database_type == "GeoLite2-Country"
    assert geo.country(IPv4Address("80.1.2.3")) == ("GB", 4)
    assert geo.country(IPv4Address("96.0.0.255")) == ("JP", 24)
    assert geo.country(IPv4Address("96.0.1.0"))[0] is None
    assert [geo.region(IPv4Address(a)) for a in ("80.1.2.3", "1.1.1.1", "96.0.0.1", "200.0.0.1")] == [
        "eu-west",
        "us-east",
        "ap-southeast",
        "us-east",
    ]


def test_a_database_that_all_servers_read_is_used_as_it_is(geo: Geo, tmp_path: Path) -> None:
    same = database.ready(geo.path, tmp_path)
    assert same.path == geo.path
    assert set(same.continents) == {"GB", "US", "JP"}
    assert same.codes[same.table[0x600000]] == "JP"
    assert same.codes[same.table[0x600001]] == ""


def test_query_is_what_dnspython_would_send() -> None:
    made = dns.message.from_wire(query(0x1234, NAME, ecs=(IPv4Address("81.2.69.0"), 24)))
    assert made.id == 0x1234
    assert made.payload == 1232
    assert str(made.question[0].name) == f"{NAME}."
    assert list(made.options) == [dns.edns.ECSOption("81.2.69.0", 24, 0)]
    assert len(dns.message.from_wire(query(1, NAME)).options) == 0


def test_queries_carry_their_row_and_expectation(geo: Geo) -> None:
    made = ecs_queries(geo, 300)
    row = 260
    assert made.packets[row, :2].tobytes() == struct.pack(">H", row)
    assert made.packets[row, -3:].tobytes() == made.clients[row].packed[:3]
    assert len(set(made.clients)) == 300


def test_checker_takes_the_right_answer_and_no_other(geo: Geo) -> None:
    made = ecs_queries(geo, 4)
    right = [
        reply(packet.tobytes(), str(IPv4Address(int(address))))
        for packet, address in zip(made.packets, made.expected, strict=True)
    ]
    wrong = [
        reply(made.packets[0].tobytes(), "192.0.2.99"),
        reply(made.packets[0].tobytes(), str(IPv4Address(int(made.expected[0]))), flags=b"\x84\x02"),
        reply(made.packets[0].tobytes(), str(IPv4Address(int(made.expected[0]))), flags=b"\x80\x00"),
        made.packets[0].tobytes(),
    ]
    data = np.zeros((8, 512), dtype=np.uint8)
    for index, packet in enumerate(right + wrong):
        data[index, : len(packet)] = np.frombuffer(packet, dtype=np.uint8)
    ids = np.array([0, 1, 2, 3, 0, 0, 0, 0], dtype=np.uint16)
    assert Checker(made.expected, made.answer_at).right(data, ids).tolist() == [True] * 4 + [False] * 4


def test_fault_reads_the_whole_reply(geo: Geo) -> None:
    packet = query(9, NAME, ecs=(IPv4Address("81.2.69.0"), 24))
    assert fault(packet, reply(packet, "192.0.2.21"), "192.0.2.21") is None
    assert fault(packet, None, "192.0.2.21") == "no reply"
    assert "expected" in str(fault(packet, reply(packet, "192.0.2.11"), "192.0.2.21"))
    other = query(9, NAME, ecs=(IPv4Address("81.2.70.0"), 24))
    assert "not echoed" in str(fault(packet, reply(other, "192.0.2.21"), "192.0.2.21"))
    plain = query(9, NAME)
    assert "not echoed" in str(fault(packet, reply(plain, "192.0.2.21"), "192.0.2.21"))
    assert "unasked" in str(fault(plain, reply(packet, "192.0.2.21"), "192.0.2.21"))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Knot):
        programs = ("no-such-program",)

    servers: list[Server] = [Absent()]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    told = "\n".join(program.obstacles(servers))
    assert "need root" in told
    assert "apt-get install" in told
    assert "knot-module-geoip" in told
