"""Next hops' MACs as the kernel has them, in a namespace of its own; and the messages that say so."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ipaddress import ip_address

import pytest

from gtm.model.errors import PublishError
from gtm.publish.dataplane.neighbours import Neighbours
from gtm.wire import rtnetlink
from gtm.wire.error import WireError
from tests.lab.network import Host, switch

RACK, SIX, NOBODY = ip_address("10.90.0.1"), ip_address("fd90::1"), ip_address("10.90.0.77")
PATIENCE_S = 60.0


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    with switch([("lb", ["10.90.0.2/24", "fd90::2/64"]), ("rack", ["10.90.0.1/24", "fd90::1/64"])]) as made:
        yield made


def mac_of(host: Host) -> bytes:
    words = host.command("ip", "-br", "link", "show", "eth0")
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return bytes.fromhex(shown.stdout.split()[2].replace(":", ""))


def test_asked_for_found_and_followed(hosts: dict[str, Host]) -> None:
    lb = hosts["lb"]
    with closing(lb.inside(lambda: Neighbours("eth0"))) as neighbours:
        assert lb.inside(lambda: neighbours.find_all([NOBODY], 0.2)) == {}
        found = lb.inside(lambda: neighbours.find_all([RACK, SIX], PATIENCE_S))
        assert found == {RACK: mac_of(hosts["rack"]), SIX: mac_of(hosts["rack"])}
        neighbours.happened([RACK])
        words = lb.command("ip", "neigh", "replace", "10.90.0.1", "lladdr", "02:00:00:00:00:77", "dev", "eth0")
        subprocess.run(words, check=True, timeout=30)
        assert select.select([neighbours], [], [], PATIENCE_S)[0]
        assert neighbours.happened([RACK])
        assert not neighbours.happened([RACK])  # it is told once
        assert lb.inside(lambda: neighbours.find([RACK])) == {RACK: bytes.fromhex("020000000077")}
        subprocess.run(lb.command("ip", "neigh", "del", "10.90.0.1", "dev", "eth0"), check=True, timeout=30)
        assert select.select([neighbours], [], [], PATIENCE_S)[0]
        assert not neighbours.happened([NOBODY])  # it was another one's
        assert lb.inside(lambda: neighbours.find_all([RACK], PATIENCE_S)) == {RACK: mac_of(hosts["rack"])}


def test_threads_may_ask_at_once(hosts: dict[str, Host]) -> None:
    lb = hosts["lb"]
    with closing(lb.inside(lambda: Neighbours("eth0"))) as neighbours:
        known = lb.inside(lambda: neighbours.find_all([RACK], PATIENCE_S))
        with ThreadPoolExecutor(4) as threads:  # each has the answer to its own question
            asked = [threads.submit(lb.inside, lambda: neighbours.find([RACK])) for _ in range(400)]
            assert all(each.result() == known for each in asked)


def test_no_such_interface(hosts: dict[str, Host]) -> None:
    with pytest.raises(PublishError, match="there is no such interface"):
        hosts["lb"].inside(lambda: Neighbours("eth9"))


def message(body: bytes, *, kind: int = rtnetlink.RTM_NEWNEIGH) -> rtnetlink.Message:
    return rtnetlink.Message(kind=kind, flags=0, sequence=1, body=body)


# AF_INET, link 3, REACHABLE; NDA_DST 10.90.0.1, NDA_LLADDR 02:00:00:00:00:0a
ENTRY = bytes.fromhex("02000000 03000000 0200 00 010800 0100 0a5a00010a00 0200 02000000000a 0000")


def test_entries() -> None:
    found = rtnetlink.read_neighbour(message(ENTRY))
    assert found == rtnetlink.Neighbour(address=RACK, link=3, mac=bytes.fromhex("02000000000a"), fresh=True)
    stale = rtnetlink.read_neighbour(message(ENTRY[:8] + b"\x04" + ENTRY[9:]))
    assert stale is not None
    assert (stale.mac, stale.fresh) == (bytes.fromhex("02000000000a"), False)
    for state in (b"\x01", b"\x20"):  # incomplete, failed
        unresolved = rtnetlink.read_neighbour(message(ENTRY[:8] + state + ENTRY[9:]))
        assert unresolved is not None
        assert unresolved.mac is None
    gone = rtnetlink.read_neighbour(message(ENTRY, kind=rtnetlink.RTM_DELNEIGH))
    assert gone is not None
    assert gone.mac is None
    assert rtnetlink.read_neighbour(message(b"\x07" + ENTRY[1:])) is None  # of a bridge
    assert rtnetlink.read_neighbour(message(ENTRY[:12])) is None


@pytest.mark.parametrize(
    "body", [ENTRY[:11], ENTRY[:12] + b"\x07\x00\x01\x00\x0a\x5a\x00\x00", ENTRY[:14] + b"\x00\x00"]
)
def test_what_is_no_entry(body: bytes) -> None:
    with pytest.raises(WireError):
        rtnetlink.read_neighbour(message(body))
