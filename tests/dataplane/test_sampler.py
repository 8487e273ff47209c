"""Samples are the frames that came, whole or cut; and the programs behind the sampler do what they would without it."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from struct import unpack_from

import pytest

from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, link
from gtm.publish.dataplane.jiffies import measure
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.pcap import Pcap
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.sampler import BY_STRUCT, PROGRAM, SAMPLES_BYTES, SNAP, Sampler
from tests.dataplane import world as w
from tests.dataplane.bpffs import mounted
from tests.dataplane.test_pins import ECHOES
from tests.lab.network import switch

LATER = 1 << 62  # jiffies
PATIENCE_S = 60.0


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Pins]:
    with mounted(tmp_path / "bpf") as folder:
        yield Pins(folder / "gtm")


@pytest.fixture
def sampler(built: Path, pins: Pins) -> Iterator[Sampler]:
    """Over a balancer of one VIP that answers echo requests."""
    with Balancer(built / "balance.bpf.o", pins.load) as balancer:
        balancer.set_vips(ECHOES, w.SEED)
        with Sampler(pins, built / "sample.bpf.o") as made:
            yield made


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """(Length, captured octets) of a pcap file's frames, as its format has them."""
    assert unpack_from("<IHH", data) == (0xA1B23C4D, 2, 4)
    assert unpack_from("<I", data, 20) == (1,)
    found, at = [], 24
    while at < len(data):
        _, rest_ns, captured, length = unpack_from("<IIII", data, at)
        assert rest_ns < 1_000_000_000
        found.append((length, data[at + 16 : at + 16 + captured]))
        at += 16 + captured
    assert at == len(data)
    return found


def sized(size: int) -> bytes:
    return w.LB + w.ROUTER + b"\x88\xb5" + bytes(i * 7 & 0xFF for i in range(size - 14))


@pytest.mark.parametrize("snap", [14, 64, 127, SNAP])
def test_captured_as_they_came(sampler: Sampler, snap: int) -> None:
    sampler.set(every=1, snap_bytes=snap, until=LATER)
    run = bpf.TestRun(sampler.program)
    sizes = [*range(14, 90), 127, 128, 129, 505, 511, 512, 513, 520, 1514]
    for size in sizes:
        assert run(sized(size)) == (2, sized(size))
    found = sampler.take()
    assert [int(one["length"]) for one in found] == sizes
    captured = [one["bytes"][: int(one["captured"])].tobytes() for one in found]
    assert captured == [sized(size)[:snap] for size in sizes]
    assert sorted(found["at_ns"].tolist()) == found["at_ns"].tolist()
    assert sampler.counted() == (len(sizes), len(sizes), 0)
    assert len(sampler.take()) == 0


def test_the_programs_run_behind_it(sampler: Sampler) -> None:
    ping = w.frame(w.packet(4, "10.88.0.100", w.echo(4), protocol=1))
    run = bpf.TestRun(sampler.program)
    sampler.set(every=1, snap_bytes=SNAP, until=LATER)
    action, answer = run(ping)
    assert action == 3
    (sampled,) = sampler.take()
    assert sampled["bytes"][: int(sampled["captured"])].tobytes() == ping
    assert answer[34] == 0  # an echo reply


def test_one_in_so_many_and_no_longer_than_told(sampler: Sampler) -> None:
    run = bpf.TestRun(sampler.program)
    sampler.set(every=7, snap_bytes=64, until=LATER)
    run(sized(60), repeat=70)
    assert (len(sampler.take()), sampler.counted()[0]) == (10, 70)
    sampler.set(every=1, snap_bytes=64, until=measure().at(time.monotonic()))
    assert run(sized(60), repeat=5)[0] == 2
    sampler.set(every=0, snap_bytes=64, until=LATER)
    assert run(sized(60), repeat=5)[0] == 2
    assert len(sampler.take()) == 0


def test_when_nobody_reads(sampler: Sampler) -> None:
    """What has no room is lost and counted, and the frames pass; what is there can still be read."""
    run = bpf.TestRun(sampler.program)
    sampler.set(every=1, snap_bytes=SNAP, until=LATER)
    assert run(sized(600), repeat=3000)[0] == 2
    seen, taken, lost = sampler.counted()
    assert (seen, taken + lost) == (3000, 3000)
    assert taken == (SAMPLES_BYTES - 1) // 536
    assert len(sampler.take()) == taken
    run(sized(600), repeat=3)  # round the buffer's end
    assert [one["bytes"][:512].tobytes() for one in sampler.take()] == [sized(600)[:512]] * 3


@pytest.mark.parametrize("name", BY_STRUCT)
def test_layout(built: Path, name: str) -> None:
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool")
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", str(built / "sample.bpf.o")], capture_output=True, check=True
    )
    every = json.loads(dump.stdout)["types"]
    (struct,) = [entry for entry in every if entry["kind"] == "STRUCT" and entry["name"] == name]
    assert struct["size"] == BY_STRUCT[name].itemsize
    assert {member["name"]: member["bits_offset"] // 8 for member in struct["members"]} == {
        field: offset for field, (_, offset, *_) in (BY_STRUCT[name].fields or {}).items()
    }


def test_a_file() -> None:
    file = BytesIO()
    pcap = Pcap(file, snap_bytes=64)
    pcap.frame(b"x" * 64, length=100, at_ns=1_800_000_000_123_456_789)
    assert unpack_from("<II", file.getvalue(), 24) == (1_800_000_000, 123_456_789)
    assert frames_in(file.getvalue()) == [(100, b"x" * 64)]


def test_nothing_is_loaded(built: Path, pins: Pins) -> None:
    with pytest.raises(PublishError, match="gtm balance run"):
        Sampler(pins, built / "sample.bpf.o")


def test_the_command(built: Path, pins: Pins, tmp_path: Path) -> None:
    """On an interface: echo requests are answered all the while, some are written, and the root has its place again."""
    hosts = [("lb", ["10.88.0.1/24"]), ("client", ["10.88.0.2/24"])]
    with switch(hosts) as made, Balancer(built / "balance.bpf.o", pins.load) as balancer:
        lb, client, pin = made["lb"], made["client"], pins.link("eth0")
        balancer.set_vips(ECHOES, w.SEED)
        lb.inside(lambda: link.attach(balancer.root, interface="eth0", mode="generic", pin=pin))
        was = link.program_of(pin)
        shown = subprocess.run(
            lb.command("ip", "-br", "link", "show", "eth0"), capture_output=True, text=True, check=True
        )
        neighbour = ("ip", "neigh", "replace", "10.88.0.100", "lladdr", shown.stdout.split()[2], "dev", "eth0")
        subprocess.run(client.command(*neighbour), check=True, timeout=30)
        file = tmp_path / "lb.pcap"
        words = ("balance", "sample", str(file), "--every", "2", "--frames", "12", "--seconds", "600", "--snap", "42")
        where = ("--pins", str(pins.folder), "--objects", str(built), "--json")
        command = lb.command(sys.executable, "-m", "gtm.cli.main", *words, *where)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as sock:
            sock.connect(("10.88.0.100", 0))
            sock.settimeout(PATIENCE_S)
            asked = 0
            while process.poll() is None:
                sock.send(w.echo(4))
                assert sock.recv(2048)[20] == 0
                asked += 1
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        document = json.loads(out)
        assert (document["interface"], document["frames"], document["lost"]) == ("eth0", 12, 0)
        found = frames_in(file.read_bytes())
        assert len(found) == 12
        assert {len(captured) for _, captured in found} == {42}
        assert link.program_of(pin) == was
        assert asked >= 24
        lb.inside(lambda: _two_at_once(pins, built))
        assert link.program_of(pin) == was


def _two_at_once(pins: Pins, built: Path) -> None:
    with Sampler(pins, built / "sample.bpf.o") as first, Sampler(pins, built / "sample.bpf.o") as second:
        first.start("eth0")
        assert bpf.name(first.program) == PROGRAM
        assert link.program_of(pins.link("eth0")) == bpf.number(first.program)
        with pytest.raises(PublishError, match="is sampled already"):
            second.start("eth0")
        with pytest.raises(PublishError, match="no program of ours"):
            second.start("lo")
        assert not select.select([first.fd], [], [], 0)[0]
