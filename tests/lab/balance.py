"""A PoP's rack: client - router with ECMP - switch with two balancers and three backends, which answer straight back.

The balancers and the backends have gtm's programs in the kernel, and subnets of their own on one switch: L2 goes right
to the backend, and all that is wrapped goes by the router.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.decide.balance import (
    MAPPED,
    SLOT_BACKEND,
    SLOT_PREVIOUS_SHIFT,
    SLOT_TRANSITION,
    TCP,
    UDP,
    Backend,
    Verdict,
    Vip,
    Wrap,
)
from gtm.publish.dataplane import bpf, layout, tc
from gtm.publish.dataplane.link import Outcome, attach
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.pins import Pins
from tests.dataplane.bpffs import mounted
from tests.lab.fabric import Fabric, fabric, run
from tests.lab.network import Host

ROOT = Path(__file__).resolve().parents[2]
VIPS = ("10.70.100.1", "fd70:100::1")
BALANCERS = {"lb1": 11, "lb2": 12}
BACKENDS = {"b1": 21, "b2": 22, "b3": 23}
NUMBERS = {name: number for number, name in enumerate(BACKENDS, start=1)}
ROUTER = 1
SEED = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
SOURCE4, SOURCE6, GUE_PORT = "172.16.0.0", "fd00:a::", 6080
SLOTS = 251
MTU_BYTES = 1600  # on the switch: the client's 1500 and any outer header
LINK = "eth0"


@dataclass(frozen=True, slots=True)
class How:
    """What a backend gets its packets in; `tc`: what takes it off is at tc, not at XDP."""

    wrap: Wrap
    outer6: bool = False
    second_chance: bool = False
    tc: bool = False


L2, IPIP, GRE, GUE = How(Wrap.L2), How(Wrap.IP), How(Wrap.GRE), How(Wrap.GUE)
IP6 = How(Wrap.IP, outer6=True)
SECOND = How(Wrap.GUE, second_chance=True)
SECOND6 = How(Wrap.GUE, outer6=True, second_chance=True)


@dataclass(slots=True)
class Rack:
    """The hosts, what runs in them, and the tables that both balancers have."""

    fabric: Fabric
    built: Path
    how: Mapping[str, How]
    stack: ExitStack
    mtu_bytes: int
    mode: str
    balancers: dict[str, Balancer] = field(default_factory=dict)
    pins: dict[str, Pins] = field(default_factory=dict)
    macs: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    alive: set[str] = field(default_factory=lambda: set(BACKENDS))
    generation: int = 0

    @property
    def client(self) -> Host:
        return self.fabric.hosts["c"]

    # Tables.

    def write_backends(self) -> None:
        """The records of those that are alive, into every balancer."""
        records = {NUMBERS[name]: self.backend(name) for name in self.alive}
        for balancer in self.balancers.values():
            balancer.set_backends(records)

    def backend(self, name: str) -> Backend:
        """A backend's record."""
        how = self.how[name]
        address = f"fd70:2::{BACKENDS[name]:x}" if how.outer6 else f"10.70.2.{BACKENDS[name]}"
        return Backend(
            wrap=how.wrap,
            address=packed(address),
            source=packed(SOURCE6 if how.outer6 else SOURCE4),
            mac=self.macs[name if how.wrap is Wrap.L2 else "r"],
            mtu_bytes=self.mtu_bytes,
            port=GUE_PORT,
            outer6=how.outer6,
            second_chance=how.second_chance,
        )

    def write_slots(self, slots: Sequence[int], *, only: str | None = None) -> None:
        """A Maglev table for both VIPs, swapped in every balancer, or in one."""
        self.generation += 1
        self.slots = list(slots)
        for name, balancer in self.balancers.items():
            if only in {None, name}:
                balancer.set_ring(0, self.slots, generation=self.generation)

    def verdicts(self, number: int) -> int:
        """Packets with a verdict, by all balancers."""
        return sum(int(one.counters["verdict"]["packets"][:, number].sum()) for one in self.balancers.values())

    def forwarded(self, name: str) -> int:
        """Packets that a balancer sent to backends."""
        return int(self.balancers[name].counters["verdict"]["packets"][:, Verdict.TX_FORWARD].sum())

    # What happens to machines.

    def route(self, *names: str) -> None:
        """The router sends the VIPs' packets to these balancers, as its routing protocol would tell it."""
        for vip in VIPS:
            subnet = "fd70:1::{:x}" if ":" in vip else "10.70.1.{}"
            hops = [word for name in names for word in ("nexthop", "via", subnet.format(BALANCERS[name]))]
            version = "-6" if ":" in vip else "-4"
            run("ip", version, "-n", self.fabric.hosts["r"].name, "route", "replace", vip, *hops)

    def unplug(self, name: str) -> None:
        """A machine is gone from one moment to the next, without a word."""
        run("ip", "-n", self.fabric.hosts["sw"].name, "link", "set", name, "down")

    def plug(self, name: str) -> None:
        """It is back."""
        run("ip", "-n", self.fabric.hosts["sw"].name, "link", "set", name, "up")

    # Making it.

    def wire(self) -> None:
        """Hosts and links; addresses and routes."""
        switch = self.fabric.host("sw")
        run(
            "ip",
            "-n",
            switch.name,
            "link",
            "add",
            "br0",
            "mtu",
            str(self.mtu_bytes),
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        )
        run("ip", "-n", switch.name, "link", "set", "br0", "up")
        router = self.fabric.host("r")
        sysctl(router, "net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1")
        sysctl(router, "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0")
        self._attach(router, "r", (1, ROUTER), (2, ROUTER))
        self.fabric.host("c")
        self.fabric.join("r", "c", "70.9")
        gate(self.client, "10.70.9.1", "fd70:9::1")
        quiet(self.client, "r")  # sums are written in full: an XDP program takes none of the kernel's promises
        for subnet, machines in ((1, BALANCERS), (2, BACKENDS)):
            for name, number in machines.items():
                host = self.fabric.host(name)
                sysctl(host, "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
                self._attach(host, name, (subnet, number))
                gate(host, f"10.70.{subnet}.{ROUTER}", f"fd70:{subnet}::{ROUTER}")
        for name in BACKENDS:
            host = self.fabric.hosts[name]
            sysctl(host, "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
            for vip in VIPS:
                run("ip", "-n", host.name, "addr", "add", vip, "dev", "lo", *(("nodad",) if ":" in vip else ()))
        self.route(*BALANCERS)

    def _attach(self, host: Host, port: str, *addresses: tuple[int, int]) -> None:
        switch = self.fabric.hosts["sw"]
        words = ("mtu", str(self.mtu_bytes), "netns", switch.name, "type", "veth")
        sysctl(host, "net.ipv6.conf.default.accept_dad=0")  # neighbours are answered from the first moment on
        run("ip", "link", "add", port, *words, "peer", "name", LINK, "mtu", str(self.mtu_bytes), "netns", host.name)
        run("ip", "-n", switch.name, "link", "set", port, "master", "br0", "up")
        for subnet, number in addresses:
            run("ip", "-n", host.name, "addr", "add", f"10.70.{subnet}.{number}/24", "dev", LINK)
            run("ip", "-n", host.name, "addr", "add", f"fd70:{subnet}::{number:x}/64", "dev", LINK, "nodad")
        run("ip", "-n", host.name, "link", "set", LINK, "up")
        shown = json.loads(run("ip", "-j", "-n", host.name, "link", "show", LINK))
        self.macs[port] = bytes.fromhex(shown[0]["address"].replace(":", ""))

    def prepare_switch(self) -> None:
        """A veth takes what XDP sends out of it only if its far end has a program, too: one that lets all pass."""
        switch = self.fabric.hosts["sw"]
        idle = self.stack.enter_context(bpf.Object(self.built / "decap.bpf.o"))  # without settings: all passes
        for name in BALANCERS | BACKENDS:
            self.hold(switch, name, idle.program("gtm_decap"))
            quiet(switch, name)

    def load_backends(self) -> None:
        """The backends' decapsulation."""
        for name in BACKENDS:
            decap = self.stack.enter_context(bpf.Object(self.built / "decap.bpf.o"))
            settings = decap.map_view(".bss", layout.DECAP_SETTINGS)[0]
            settings["source4"], settings["mask4"] = packed(SOURCE4)[12:], socket.inet_aton("255.255.0.0")
            settings["source6"], settings["port"] = packed(SOURCE6)[:8], GUE_PORT
            if self.how[name].tc:
                put = partial(tc.attach, decap.program("gtm_decap_tc"), interface=LINK)
                self.fabric.hosts[name].inside(put)
            else:
                self.hold(self.fabric.hosts[name], LINK, decap.program("gtm_decap"))

    def load_balancers(self) -> None:
        """Both balancers, with a table that the backends share."""
        folder = self.stack.enter_context(mounted(self.fabric.folder / "bpf"))
        for name in BALANCERS:
            self.pins[name] = Pins(folder / name)
            self.update(name)
        vips = {(packed(vip), 80, protocol): Vip(ring=0) for vip in VIPS for protocol in (TCP, UDP)}
        for balancer in self.balancers.values():
            balancer.set_vips(vips, SEED)
        self.write_backends()
        self.write_slots(shared(tuple(BACKENDS)))

    def update(self, name: str) -> Outcome:
        """The program of a balancer, loaded anew over the tables that are there, takes its place."""
        pins, before = self.pins[name], self.balancers.get(name)
        balancer = Balancer(self.built / "balance.bpf.o", pins.load)
        self.balancers[name] = self.stack.enter_context(balancer)
        attached = partial(attach, balancer.root, interface=LINK, mode=self.mode, pin=pins.link(LINK))
        outcome = self.fabric.hosts[name].inside(attached)
        if before is not None:
            before.object.close()
        return outcome

    def leave_alone(self, name: str) -> None:
        """Whoever manages a balancer is gone: only what is pinned is left."""
        self.balancers.pop(name).object.close()

    def hold(self, host: Host, link: str, program: int) -> int:
        """A program at a host's link until the rack is taken down."""
        fd = host.inside(partial(held, link, program))
        self.stack.callback(os.close, fd)
        return fd

    def serve(self) -> None:
        """The backends' servers."""
        for name, number in BACKENDS.items():
            host = self.fabric.hosts[name]
            process = host.start(
                sys.executable, "-m", "tests.lab.origin", name, *VIPS, f"10.70.2.{number}",
                log=self.fabric.folder / f"{name}.log", env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
            )  # fmt: skip
            self.origins[name] = process
        for name, process in self.origins.items():
            assert process.stdout is not None
            self.stack.callback(process.stdout.close)
            said = process.stdout.readline()
            assert said == b"listening\n", (self.fabric.folder / f"{name}.log").read_text()


def shared(names: Sequence[str], *, size: int = SLOTS) -> list[int]:
    """A table that these backends share evenly."""
    return [NUMBERS[names[at % len(names)]] for at in range(size)]


def moving(slots: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The table on its way to `wanted`: a slot that changes keeps its oldest owner as the previous one."""
    return [
        slot if slot & SLOT_BACKEND == new and slot & SLOT_TRANSITION
        else new if slot == new
        else new | SLOT_TRANSITION | (slot >> SLOT_PREVIOUS_SHIFT or slot & SLOT_BACKEND) << SLOT_PREVIOUS_SHIFT
        for slot, new in zip(slots, wanted, strict=True)
    ]  # fmt: skip


def settled(slots: Sequence[int]) -> list[int]:
    """The table after a change."""
    return [slot & SLOT_BACKEND for slot in slots]


def without(slots: Sequence[int], name: str) -> list[int]:
    """The owners of a table's slots if the others share what a backend has."""
    others = [NUMBERS[other] for other in BACKENDS if other != name]
    owners = settled(slots)
    return [others[at % len(others)] if owner == NUMBERS[name] else owner for at, owner in enumerate(owners)]


def held(link: str, program: int) -> int:
    """The descriptor of a link that holds a program at a network device of the namespace that this runs in."""
    return bpf.check(bpf.library().bpf_link_create(program, socket.if_nametoindex(link), bpf.XDP, None), link)


def packed(address: str) -> bytes:
    """An address as 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    value = ip_address(address).packed
    return value if len(value) == 16 else MAPPED + value


def sysctl(host: Host, *settings: str) -> None:
    run(*host.command("sysctl", "-q", "-w", *settings))


def gate(host: Host, *addresses: str) -> None:
    """The ways out."""
    for address in addresses:
        run("ip", "-6" if ":" in address else "-4", "-n", host.name, "route", "add", "default", "via", address)


def quiet(host: Host, link: str) -> None:
    """No sums left to hardware, no packets put together."""
    run(*host.command("ethtool", "-K", link, "tx", "off", "gro", "off"))


@contextmanager
def wired(
    built: Path, how: Mapping[str, How] | How, *, mtu_bytes: int = MTU_BYTES, mode: str = "native"
) -> Iterator[Rack]:
    """A rack with backends that serve, and balancers that do nothing yet; all of it is gone at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with fabric() as made, ExitStack() as stack:
        each = dict.fromkeys(BACKENDS, how) if isinstance(how, How) else how
        one = Rack(fabric=made, built=built, how=each, stack=stack, mtu_bytes=mtu_bytes, mode=mode)
        one.wire()
        one.prepare_switch()
        one.load_backends()
        one.serve()
        yield one


@contextmanager
def rack(
    built: Path, how: Mapping[str, How] | How, *, mtu_bytes: int = MTU_BYTES, mode: str = "native"
) -> Iterator[Rack]:
    """A rack that serves, its balancers' tables in this process's hands."""
    with wired(built, how, mtu_bytes=mtu_bytes, mode=mode) as made:
        made.load_balancers()
        yield made
