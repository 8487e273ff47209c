"""`gtm balance decap` on a veth: what it attaches, what comes out, what it says again, and that nothing stays."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from struct import pack

import pytest

from gtm.app.balance import decap
from gtm.app.balance.decap import Decap
from gtm.cli.main import main
from gtm.model.address import IPNetwork
from gtm.model.balance import AttachMode
from gtm.model.errors import AskedError, GtmError, PublishError
from gtm.publish.dataplane import tc
from gtm.publish.dataplane.link import hook
from tests.dataplane.bpffs import mounted
from tests.lab.network import Host, switch

LINK, BACKEND, VIP, PORT = "eth0", "10.88.0.9", "10.99.0.1", 9000
OURS = (ip_network("10.88.0.0/29"), ip_network("fd00:31::/64"))
MODES = ("native", "generic", "tc")
ARRIVES_S = 60.0


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    addresses = [f"{BACKEND}/24", f"{VIP}/32"]
    with switch([("own", addresses), ("lb", ["10.88.0.1/24"]), ("other", ["10.88.0.77/24"])]) as made:
        yield made


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "bpf") as folder:
        yield folder / "gtm-decap"


def sums(header: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(text: bytes) -> bytes:
    """A client's IPv4 packet to the VIP: UDP without a checksum."""
    ends = socket.inet_aton("10.88.0.200") + socket.inet_aton(VIP)
    header = pack("!BBHHHBBH", 0x45, 0, 28 + len(text), 0, 0, 64, 17, 0) + ends
    header = header[:10] + sums(header).to_bytes(2, "big") + header[12:]
    return header + pack("!HHHH", 4000, PORT, 8 + len(text), 0) + text


def send(host: Host, text: bytes) -> None:
    """The packet in an IPIP header of the host's own address."""
    with host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)) as raw:
        raw.sendto(datagram(text), (BACKEND, 0))


def listening(host: Host) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((VIP, PORT))
        made.settimeout(ARRIVES_S)
        return made

    return host.inside(make)


@pytest.mark.parametrize("mode", MODES)
def test_ours_are_unwrapped_and_strangers_are_not(built: Path, hosts: dict[str, Host], pins: Path, mode: str) -> None:
    own = hosts["own"]
    again = partial(decap.attach, LINK, sources=OURS, port=6080, mode=mode, pins=pins, program=built / "decap.bpf.o")
    done = own.inside(again)
    assert (done.outcome, done.mode, done.sources) == ("attached", mode, ("10.88.0.0/29", "fd00:31::/64"))
    with listening(own) as server:
        send(hosts["other"], b"stranger")
        send(hosts["lb"], b"ours")
        assert server.recvfrom(100) == (b"ours", ("10.88.0.200", 4000))
        assert own.inside(again).outcome == "updated"
        wider = partial(again, sources=[ip_network("10.88.0.0/24")])
        assert own.inside(wider).sources == ("10.88.0.0/24",)
        send(hosts["other"], b"no stranger any more")
        assert server.recv(100) == b"no stranger any more"
    now = own.inside(partial(decap.show, LINK, pins=pins))
    assert (now.mode, now.sources, now.port, now.outcome) == (mode, ("10.88.0.0/24",), 6080, None)
    assert (now.unwrapped, now.sent_on) == (2, 0)
    assert now.left >= 1
    off = partial(decap.detach, LINK, pins=pins)
    assert own.inside(off).outcome == "removed"
    assert own.inside(lambda: (hook(LINK).program, tc.program(LINK))) == (None, None)
    assert own.inside(partial(decap.show, LINK, pins=pins)).mode is None
    assert own.inside(off).outcome is None
    assert list(pins.iterdir()) == []


def test_another_mode_is_asked_for(built: Path, hosts: dict[str, Host], pins: Path) -> None:
    put = partial(decap.attach, LINK, sources=OURS, port=6080, pins=pins, program=built / "decap.bpf.o")
    own = hosts["own"]
    assert own.inside(put).mode == "native"
    with pytest.raises(PublishError, match="runs in native mode"):
        own.inside(partial(put, mode=AttachMode.GENERIC))
    assert own.inside(partial(put, mode=AttachMode.GENERIC, replace=True)).outcome == "moved"
    own.inside(partial(decap.detach, LINK, pins=pins))


def test_to_tc_and_back_there_is_no_moment_in_between(built: Path, hosts: dict[str, Host], pins: Path) -> None:
    own = hosts["own"]
    for mode, outcome in (("native", "attached"), ("tc", "moved"), ("tc", "updated"), ("generic", "moved")):
        put = partial(decap.attach, LINK, sources=OURS, port=6080, pins=pins, program=built / "decap.bpf.o", mode=mode)
        done = own.inside(put)
        assert (done.outcome, done.mode) == (outcome, mode)
        assert (own.inside(lambda: tc.program(LINK)) is None) == (mode != "tc")
        with listening(own) as server:
            send(hosts["lb"], mode.encode())
            assert server.recv(100) == mode.encode()
    assert own.inside(partial(decap.show, LINK, pins=pins)).unwrapped == 4
    assert own.inside(partial(decap.detach, LINK, pins=pins)).outcome == "removed"


def test_what_the_machine_lets_no_client_through_by_is_said(
    built: Path, hosts: dict[str, Host], pins: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, key, value in (("all", "rp_filter", 1), (LINK, "rp_filter", 2), ("all", "arp_ignore", 0)):
        (tmp_path / "conf" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name / key).write_text(f"{value}\n")
    (tmp_path / "conf" / LINK / "arp_ignore").write_text("0\n")
    monkeypatch.setattr(decap, "CONF", tmp_path / "conf")
    put = partial(decap.attach, LINK, sources=OURS, port=6080, pins=pins, program=built / "decap.bpf.o")
    first, second = hosts["own"].inside(put).notes
    assert first.startswith("net.ipv4.conf.all.rp_filter = 1: clients whose way back is not by eth0 are dropped")
    assert second.startswith("net.ipv4.conf.all.arp_ignore = 0")
    hosts["own"].inside(partial(decap.detach, LINK, pins=pins))


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["10.0.0.0/8", "172.31.0.0/16"], "one network of IPv4, not 10.0.0.0/8, 172.31.0.0/16"),
        (["fd00:31::/112"], "fd00:31::/112 is no /64"),
        (["0.0.0.0/0"], "0.0.0.0/0 is everybody"),
    ],
)
def test_sources_that_the_program_cannot_tell(sources: list[str], said: str, tmp_path: Path) -> None:
    found: list[IPNetwork] = [ip_network(each) for each in sources]
    with pytest.raises(AskedError, match=said):
        decap.attach(LINK, sources=found, port=6080, pins=tmp_path)


def test_where_there_is_no_program_or_no_bpffs_it_is_said(tmp_path: Path, pins: Path) -> None:
    with pytest.raises(PublishError, match="is not in a bpffs"):
        decap.attach(LINK, sources=OURS, port=6080, pins=tmp_path / "gtm")
    with pytest.raises(GtmError, match="the program for backends cannot be loaded"):
        decap.attach(LINK, sources=OURS, port=6080, pins=pins, program=tmp_path / "none.bpf.o")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eth0", "--from", "10.1.0.1/24"], "has host bits set (allowed: a network such as 10.1.0.0/24)"),
        (["eth0", "--from", "10.1.0.0/24", "--port", "0"], "'0' is not a port (allowed: 1 to 65535)"),
        (["eth0", "--from", "10.1.0.0/24", "--mode", "fast"], "invalid choice: 'fast'"),
    ],
)
def test_command_lines_that_are_none(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "decap", *words]) == 2
    assert said in capsys.readouterr().err


def test_what_is_said() -> None:
    there = Decap(
        interface="eth0", mode="native", sources=("10.1.0.0/24",), port=6080, outcome="attached", notes=("x",)
    )
    assert decap.decap_text(there).splitlines() == [
        "eth0: unwraps what comes from 10.1.0.0/24, GUE at port 6080 (attached, native)",
        "  0 packets unwrapped, 0 sent on, 0 left as they were",
        "note: x",
    ]
    gone = Decap(interface="eth0", mode=None, sources=(), port=0, outcome="removed")
    assert decap.decap_text(gone) == "eth0: nothing is unwrapped any more"
    assert json.loads(json.dumps(decap.decap_document(gone)))["outcome"] == "removed"


def test_a_program_that_is_none_is_said(tmp_path: Path, pins: Path) -> None:
    junk = tmp_path / "decap.bpf.o"
    junk.write_text("junk")
    with pytest.raises(GtmError, match=r"decap\.bpf\.o: is no BPF object") as raised:
        decap.attach(LINK, sources=OURS, port=6080, pins=pins, program=junk)
    assert "Errno" not in str(raised.value)


def test_who_may_not_load_it_is_told_what_it_takes() -> None:
    assert decap._words(PermissionError(1, "load: libbpf: many\nlines")).startswith("not permitted: that needs root")
