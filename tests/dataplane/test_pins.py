"""What outlives its manager: pinned maps, and programs on interfaces that are replaced in place."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from struct import pack

import pytest

from gtm.decide.balance import ICMP, Verdict, Vip
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, layout, link
from gtm.publish.dataplane.link import Outcome, attach, detach, hook
from gtm.publish.dataplane.maps import OBJECT, Balancer
from gtm.publish.dataplane.pins import Incompatible, Pins
from tests.dataplane.bpffs import mounted
from tests.dataplane.world import SEED, echo, packed
from tests.lab.network import Host, switch

ECHOES = {(packed("10.88.0.100"), 0, ICMP): Vip(ring=1)}
UPDATES = 20
LOST_S = 60.0


@pytest.fixture
def pins(built: Path, tmp_path: Path) -> Iterator[Pins]:
    with mounted(tmp_path / "bpf") as folder:
        yield Pins(folder / "gtm")


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    with switch([("lb", ["10.88.0.1/24"]), ("client", ["10.88.0.2/24"])]) as made:
        yield made


def load(built: Path, pins: Pins) -> Balancer:
    return Balancer(built / OBJECT.name, pins.load)


def test_flows_tables_and_counters_outlive_the_manager(built: Path, pins: Pins) -> None:
    with load(built, pins) as first:
        first.set_vips(ECHOES, SEED)
        first.flows[77]["flow"][3] = 0xABCDEF
        first.backends[9]["mtu"] = 1234
        first.set_ring(1, [4, 5, 6], generation=8)
        first.counters["verdict"][0]["packets"][3] = 21
    with load(built, pins) as second:
        assert second.flows[77]["flow"][3] == 0xABCDEF
        assert second.backends[9]["mtu"] == 1234
        assert second.counters["verdict"][0]["packets"][3] == 21
        assert tuple(second.settings["seed"]) == SEED
        assert (second.vips["vip"]["protocol"] == ICMP).sum() == 1
        held = second.ring(1)
        assert held is not None
        assert (held[0], held[1].tolist()) == (8, [4, 5, 6])
        assert second.ring(2) is None
    pins.remove()
    assert not pins.folder.exists()
    with load(built, pins) as anew:
        assert anew.flows[77]["flow"][3] == 0
        assert tuple(anew.settings["seed"]) != SEED


def test_another_layout_is_another_folder(built: Path, pins: Pins) -> None:
    with load(built, pins):
        pass
    newer = Pins(pins.folder, version="newer")
    assert newer.others() == (layout.digest(),)
    with load(built, newer) as balancer:
        assert balancer.ring(1) is None
        assert newer.prune() == (layout.digest(),)
    assert not pins.maps.exists()
    assert newer.maps.exists()


def test_a_map_of_another_shape_is_refused(built: Path, pins: Pins) -> None:
    folder = pins.maps / "balance"
    folder.mkdir(parents=True)
    fd = bpf.create_array("backends", value_bytes=64, entries=7)
    bpf.pin(fd, folder / "backends")
    os.close(fd)
    with pytest.raises(Incompatible, match=r"has entries 7, and this release wants 4096"):
        load(built, pins)


def test_pins_need_a_bpffs(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="is not in a bpffs"):
        Pins(tmp_path / "gtm")


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_attached_updated_moved_and_taken_off(built: Path, pins: Pins, hosts: dict[str, Host], mode: str) -> None:
    lb, pin = hosts["lb"], pins.link("eth0")
    other = {"native": "generic", "generic": "native"}[mode]

    def put(balancer: Balancer, way: str, *, move: bool = False) -> Outcome:
        return lb.inside(lambda: attach(balancer.root, interface="eth0", mode=way, pin=pin, move=move))

    with load(built, pins) as first:
        assert put(first, mode) is Outcome.ATTACHED
        was = lb.inside(lambda: hook("eth0"))
        assert was.mode == mode
    assert lb.inside(lambda: hook("eth0")) == was  # the pin holds it
    assert pins.links() == ("eth0",)
    with load(built, pins) as second:
        assert put(second, mode) is Outcome.UPDATED
        now = lb.inside(lambda: hook("eth0"))
        assert now.mode == mode
        assert now.program not in {None, was.program}
        assert link.program_of(pin) == now.program
        with pytest.raises(PublishError, match=f"runs in {mode} mode"):
            put(second, other)
        assert put(second, other, move=True) is Outcome.MOVED
        assert lb.inside(lambda: hook("eth0")).mode == other
    assert lb.inside(lambda: detach(pin))
    assert lb.inside(lambda: hook("eth0")).program is None
    assert not lb.inside(lambda: detach(pin))


def test_an_interface_that_was_made_anew_is_attached_to_again(built: Path, pins: Pins, hosts: dict[str, Host]) -> None:
    pin = pins.link("own.1")

    def made() -> None:
        for words in ("del dev own.1", "add own.1 type veth peer name far.1"):
            subprocess.run(hosts["lb"].command("ip", "link", *words.split()), capture_output=True, timeout=30)

    made()
    with load(built, pins) as balancer:

        def put() -> Outcome:
            return hosts["lb"].inside(lambda: attach(balancer.root, interface="own.1", mode="generic", pin=pin))

        assert put() is Outcome.ATTACHED
        made()
        assert put() is Outcome.MOVED
        assert hosts["lb"].inside(lambda: hook("own.1")).mode == "generic"
        assert pins.links() == ("own.1",)


def test_anothers_program_is_left_alone(built: Path, pins: Pins, hosts: dict[str, Host]) -> None:
    with load(built, pins) as balancer, pytest.raises(PublishError, match="there is no such interface"):
        hosts["lb"].inside(lambda: attach(balancer.root, interface="none", mode="native", pin=pins.link("none")))
    with load(built, pins) as balancer:
        hosts["lb"].inside(lambda: attach(balancer.root, interface="eth0", mode="native", pin=pins.link("a")))
        before = hosts["lb"].inside(lambda: hook("eth0"))
        with pytest.raises(PublishError, match="another XDP program is attached"):
            hosts["lb"].inside(lambda: attach(balancer.root, interface="eth0", mode="native", pin=pins.link("b")))
        assert hosts["lb"].inside(lambda: hook("eth0")) == before


def test_no_packet_is_lost_while_programs_change(built: Path, pins: Pins, hosts: dict[str, Host]) -> None:
    """Echo requests to a VIP that no host has are answered by the program alone, whichever of them is there."""
    lb, client, pin = hosts["lb"], hosts["client"], pins.link("eth0")
    with load(built, pins) as first:
        first.set_vips(ECHOES, SEED)
        lb.inside(lambda: attach(first.root, interface="eth0", mode="generic", pin=pin))
    shown = subprocess.run(lb.command("ip", "-br", "link", "show", "eth0"), capture_output=True, text=True, check=True)
    neighbour = ("ip", "neigh", "replace", "10.88.0.100", "lladdr", shown.stdout.split()[2], "dev", "eth0")
    subprocess.run(client.command(*neighbour), check=True, timeout=30)
    with client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as sock:
        sock.connect(("10.88.0.100", 0))
        sock.settimeout(LOST_S)
        programs, echoes = set(), 0
        with ThreadPoolExecutor(1) as thread:

            def change() -> None:
                for _ in range(UPDATES):
                    with load(built, pins) as balancer:
                        lb.inside(partial(attach, balancer.root, interface="eth0", mode="generic", pin=pin))
                    programs.add(link.program_of(pin))

            changing = thread.submit(change)
            while not changing.done():
                sock.send(echo(4, payload=pack("!Q", echoes)))
                assert sock.recv(2000)[28:] == pack("!Q", echoes)  # one that is lost is never answered: TimeoutError
                echoes += 1
            changing.result()
    print(f"{len(programs)} programs, {echoes} echoes, none lost")
    assert len(programs) == UPDATES
    assert echoes > UPDATES
    with load(built, pins) as last:
        assert last.counters["verdict"]["packets"][:, Verdict.TX_ECHO].sum() == echoes
