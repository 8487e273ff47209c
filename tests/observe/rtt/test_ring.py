"""Rings: what goes in comes out once, and nothing that is torn ever does."""

from __future__ import annotations

import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from gtm.model.errors import StoreError
from gtm.observe.rtt import ring
from gtm.observe.rtt.network import MAPPED
from gtm.observe.rtt.ring import ENTRIES, Measured, RingReader, RingWriter, RttRing

V4 = bytes((203, 0, 113, 9))
V6 = bytes.fromhex("20010db8000100020000000000000001")


def put(writer: RingWriter, *numbers: int) -> None:
    for number in numbers:
        writer.put(Measured(V4, number / 1e6, 1_700_000_000.5))


def times_us(entries: list[Measured]) -> list[int]:
    return [round(entry.rtt_s * 1e6) for entry in entries]


def test_what_goes_in_comes_out_once(tmp_path: Path) -> None:
    writer = RingWriter(tmp_path / "dns-0.rtts")
    reader = RingReader(tmp_path / "dns-0.rtts")
    writer.put(Measured(V4, 0.0125, 1_700_000_000.25))
    writer.put(Measured(V6, 0.250, 1_700_000_001.5))
    assert reader.read() == [
        Measured(MAPPED + V4, 0.0125, 1_700_000_000.25),
        Measured(V6, 0.250, 1_700_000_001.5),
    ]
    assert reader.read() == []
    assert reader.lost == 0


def test_a_new_reader_and_a_new_writer_go_on_where_the_old_ones_were(tmp_path: Path) -> None:
    path = tmp_path / "dns-0.rtts"
    put(RingWriter(path), 1, 2)
    assert times_us(RingReader(path).read()) == [1, 2]
    put(RingWriter(path), 3)
    assert times_us(RingReader(path).read()) == [3]


def test_a_full_ring_loses_its_oldest_entries_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "dns-0.rtts"
    writer, reader = RingWriter(path), RingReader(path)
    put(writer, *range(1, ENTRIES + 11))
    assert times_us(reader.read()) == list(range(11, ENTRIES + 11))
    assert reader.lost == 10
    put(writer, 7)
    assert times_us(reader.read()) == [7]


def test_every_torn_entry_is_left_out(tmp_path: Path) -> None:
    """Whatever part of a new entry has reached the file when it is read, alone or over an older entry."""
    path = tmp_path / "dns-0.rtts"
    put(RingWriter(path), 1, 2)
    old = path.read_bytes()
    writer = RingWriter(path)
    put(writer, *range(3, ENTRIES + 3))  # the last two lie over the first two
    new = path.read_bytes()
    size = (len(new) - 64) // ENTRIES
    for cut in range(1, size):
        for torn in (new[: 64 + cut] + old[64 + cut : 64 + size], old[:64] + old[64 : 64 + cut] + new[64 + cut :]):
            whole = bytearray(new)
            whole[64 : 64 + size] = torn[64 : 64 + size]
            if whole == new:
                continue
            path.write_bytes(whole)
            reader = RingReader(path)
            assert times_us(reader.read()) == [*range(3, ENTRIES + 1), ENTRIES + 2]
            assert reader.lost == 3  # entries 1 and 2 were written over, and the torn one


def test_an_entry_of_another_round_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "dns-0.rtts"
    writer, reader = RingWriter(path), RingReader(path)
    put(writer, 1)
    reader.read()
    words = bytearray(path.read_bytes())
    words[8:16] = (ENTRIES + 1).to_bytes(8, "little")  # head says that a round has gone by, the entry does not
    path.write_bytes(words)
    assert RingReader(path).read() == []


def test_a_writer_and_a_reader_in_two_processes_never_see_half_an_entry(tmp_path: Path) -> None:
    """Each entry says the same thing twice: its time is its address."""
    path = tmp_path / "dns-0.rtts"
    reader = RttRing(tmp_path, "here")
    RingWriter(path)
    reader.drain()
    program = f"""
from pathlib import Path
from gtm.observe.rtt.ring import Measured, RingWriter
writer = RingWriter(Path({str(path)!r}))
for number in range(1, 200_001):
    writer.put(Measured(number.to_bytes(4, "big"), number / 1e6, number))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    seen = 0
    ended = False
    while not ended:
        ended = process.poll() is not None
        for sample in reader.drain():
            number = round(sample.rtt_s * 1e6)
            assert sample.network == ip_network((number & ~255, 24))
            assert sample.at_s == number
            assert number > seen
            seen = number
    assert process.returncode == 0
    assert seen == 200_000


def test_who_wants_nothing_gets_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [5000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    writer = RingWriter(tmp_path / "dns-0.rtts")
    assert not writer.wanted()
    reader = RttRing(tmp_path, "here")
    reader.drain()
    assert writer.wanted()
    clock[0] += ring.PULSE_MAX_S + 1
    assert not writer.wanted()
    reader.drain()
    assert writer.wanted()
    clock[0] = 10.0  # after a reboot the clock begins anew
    assert not writer.wanted()


def test_all_rings_of_a_folder_are_read_as_workers_come_and_go(tmp_path: Path) -> None:
    rings = RttRing(tmp_path, "us-east")
    assert rings.drain() == []
    first = RingWriter(tmp_path / "dns-0.rtts")
    put(first, 1)
    (tmp_path / "dns-9.rtts").write_bytes(b"not a ring")
    (tmp_path / "dns-0.counters").write_bytes(bytes(100))
    [sample] = rings.drain()
    assert (sample.network, sample.region, sample.count) == (ip_network("203.0.113.0/24"), "us-east", 1)
    second = RingWriter(tmp_path / "dns-1.rtts")
    second.put(Measured(V6, 0.1, 1.0))
    assert [s.network for s in rings.drain()] == [ip_network("2001:db8:1::/48")]
    (tmp_path / "dns-0.rtts").unlink()
    put(RingWriter(tmp_path / "dns-0.rtts"), 5)
    assert [s.rtt_s for s in rings.drain()] == [5e-6]
    (tmp_path / "dns-1.rtts").unlink()
    assert rings.drain() == []


def test_a_file_that_is_no_ring_is_replaced_by_a_writer_and_refused_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "dns-0.rtts"
    path.write_bytes(b"x" * 10)
    with pytest.raises(StoreError, match="not a ring"):
        RingReader(path)
    put(RingWriter(path), 4)
    assert times_us(RingReader(path).read()) == [4]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError):
        RingWriter(tmp_path / "no" / "folder.rtts")
