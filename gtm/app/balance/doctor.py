"""`gtm balance doctor`: would this machine balance, and what would make it do so better? Nothing is changed."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gtm.app.announce.check import Finding, Severity
from gtm.app.balance.capabilities import Capability, effective
from gtm.app.balance.instance import Balancing, find_instance
from gtm.app.balance.keys import read_secret
from gtm.app.balance.plan import next_hops
from gtm.app.balance.run import PINS
from gtm.decide.fit import advmss_bytes, room_bytes
from gtm.model.address import IPAddress
from gtm.model.balance import AttachMode, Through, Wrap
from gtm.model.errors import GtmError, PublishError
from gtm.publish.dataplane import link
from gtm.publish.dataplane.guard import OBJECT as GUARD
from gtm.publish.dataplane.interface import Link, look
from gtm.publish.dataplane.link import Hook
from gtm.publish.dataplane.maps import OBJECT
from gtm.publish.dataplane.neighbours import Neighbours
from gtm.publish.dataplane.pins import Pins, filesystem
from gtm.web.document import as_object

KERNEL_LEAST = (5, 15)
NATIVE_MTU_BYTES = 3498  # what fits a page beside the headroom and the skb's own part, on most drivers
CLIENT_MTU_BYTES = 1500
RESOLVE_S = 3.0
NEEDED = (Capability.BPF, Capability.NET_ADMIN, Capability.PERFMON, Capability.SYS_ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found: `neighbours` by next hop (None: no answer), VIPs that are its own, `sysctls` as far as there are.

    `xdp` is what is on the interface, `ours` whether a link of ours is pinned for it; `missing` are programs and
    libraries, `rights` capabilities that this process has not.
    """

    kernel: str
    cpus: int
    link: Link
    xdp: Hook
    ours: bool
    bpffs: bool
    missing: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    neighbours: Mapping[IPAddress, bytes | None] = field(default_factory=dict)
    own_vips: tuple[IPAddress, ...] = ()
    sysctls: Mapping[str, int] = field(default_factory=dict)
    secret: str | None = None  # what is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The outcome for an instance: facts of its interface, and findings; `ok` without an error among them.

    `attached` is the mode of the program that is on it (None: none), `queues` receive and can be `queues_max`.
    """

    node: str
    interface: str
    mode: AttachMode
    kernel: str
    driver: str | None
    mtu_bytes: int
    queues: int | None
    queues_max: int | None
    cpus: int
    lro: bool | None
    gro: bool | None
    attached: str | None
    neighbours: Mapping[IPAddress, str | None]
    ok: bool
    findings: tuple[Finding, ...]


def doctor(folder: Path, *, pins: Path = PINS) -> Examined:
    """Examine this machine as the instance that it is. Raises ConfigErrors, GtmError where it is none."""
    found = find_instance(folder)
    return examined(found, examine(found, folder, pins))


def examined(found: Balancing, machine: Machine) -> Examined:
    """What to make of a machine."""
    findings = (*_system(found, machine), *_interface(found, machine), *_network(found, machine))
    there = machine.link
    return Examined(
        node=found.instance.node,
        interface=found.instance.interface,
        mode=found.instance.mode,
        kernel=machine.kernel,
        driver=there.driver,
        mtu_bytes=there.mtu_bytes,
        queues=there.queues,
        queues_max=there.queues_max,
        cpus=machine.cpus,
        lro=there.lro,
        gro=there.gro,
        attached=machine.xdp.mode,
        neighbours={hop: None if mac is None else mac.hex(":") for hop, mac in machine.neighbours.items()},
        ok=not any(each.severity is Severity.ERROR for each in findings),
        findings=findings,
    )


def examined_document(found: Examined) -> dict[str, object]:
    """The outcome as JSON."""
    return as_object(found)


def examined_text(found: Examined) -> str:
    """The outcome in lines."""
    offloads = ", ".join(
        f"{name} {'?' if value is None else 'on' if value else 'off'}"
        for name, value in (("LRO", found.lro), ("GRO", found.gro))
    )
    lines = [
        f"{found.interface}: driver {found.driver or '?'}, MTU {found.mtu_bytes}, {offloads}",
        f"{found.queues or '?'} receive queues, {found.queues_max or '?'} at most",
        f"{found.cpus} CPUs, kernel {found.kernel}; mode {found.mode}, attached: {found.attached or 'nothing'}",
        *(f"next hop {hop}: {mac or 'no answer'}" for hop, mac in found.neighbours.items()),
    ]
    for each in found.findings:
        advice = f" (do: {each.advice})" if each.advice else ""
        lines.append(f"{each.severity}: {each.about}: {each.message}{advice}")
    errors = sum(each.severity is Severity.ERROR for each in found.findings)
    lines.append("ok" if found.ok else f"{errors} error{'s' * (errors > 1)}")
    return "\n".join(lines)


# What is there


def examine(found: Balancing, folder: Path, pins: Path) -> Machine:
    """Look at this machine. Raises PublishError where the interface is not there."""
    instance = found.instance
    there = look(instance.interface)
    missing = [each.name for each in (OBJECT, GUARD) if not each.exists()]
    hook = Hook(program=None, mode=None)
    try:
        hook = link.hook(instance.interface)
    except PublishError:
        raise
    except OSError:
        missing.append("libbpf.so.1")
    hops = next_hops(found.dataplane, instance)
    with closing(Neighbours(instance.interface)) as neighbours:
        macs = neighbours.find_all(hops, RESOLVE_S)
    vips = (vip for service in found.dataplane.services.values() for vip in service.vips)
    have = effective()
    secret = None
    try:
        read_secret(found.dataplane.secret, folder)
    except GtmError as error:
        secret = str(error)
    interface = instance.interface
    bpffs = filesystem(pins.absolute()) == "bpf"
    return Machine(
        kernel=os.uname().release,
        cpus=len(os.sched_getaffinity(0)),
        link=there,
        xdp=hook,
        ours=bpffs and interface in Pins(pins).links(),
        bpffs=bpffs,
        missing=tuple(missing),
        rights=tuple(f"CAP_{each.name}" for each in NEEDED if each not in have),
        neighbours={hop: macs.get(hop) for hop in sorted(hops, key=str)},
        own_vips=tuple(dict.fromkeys(vip for vip in vips if _own(vip))),
        sysctls={
            name: value
            for name in (
                "net/core/bpf_jit_enable",
                "net/ipv4/ip_forward",
                "net/ipv6/conf/all/forwarding",
                "net/ipv4/conf/all/rp_filter",
                f"net/ipv4/conf/{interface}/rp_filter",
            )
            if (value := _sysctl(name)) is not None
        },
        secret=secret,
    )


def _own(vip: IPAddress) -> bool:
    """Whether an address is this machine's, so that one can bind to it."""
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(vip), 0))
    except OSError as error:
        return error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
    return True


def _sysctl(name: str) -> int | None:
    try:
        return int((Path("/proc/sys") / name).read_text())
    except (OSError, ValueError):
        return None


# What to make of it


def _system(found: Balancing, machine: Machine) -> Iterator[Finding]:
    numbers = re.match(r"(\d+)\.(\d+)", machine.kernel)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < KERNEL_LEAST:
        yield _error("kernel", f"{machine.kernel} is older than 5.15", "a newer kernel")
    for name in machine.missing:
        advice = "apt install libbpf1" if name.startswith("libbpf") else "make bpf, or a wheel that has the programs"
        yield _error(name, "is not there", advice)
    if not machine.bpffs:
        yield _error("pins", "there is no bpffs at /sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf")
    if machine.rights:
        words = f"this process has not {', '.join(machine.rights)}, which `gtm balance run` begins with"
        yield _warning("rights", words, "root, or AmbientCapabilities of its unit")
    if machine.secret is not None:
        yield _error("secret", machine.secret)
    if machine.sysctls.get("net/core/bpf_jit_enable") == 0:
        yield _error("kernel", "programs are interpreted, ten times slower", "sysctl -w net.core.bpf_jit_enable=1")
    if found.instance.source(4) is None and found.instance.source(6) is None and _wrapped(found, Wrap.IPIP, Wrap.GRE):
        words = "outer headers have one source, so that a backend's receive queues may not share the work"
        yield _warning("source", words, "a /16 (and a /64 of IPv6) that backends accept, in dataplane/services.yaml")


def _interface(found: Balancing, machine: Machine) -> Iterator[Finding]:
    there, native = machine.link, found.instance.mode is AttachMode.NATIVE
    name = there.name
    if machine.xdp.program is not None and not machine.ours:
        words = f"another's XDP program ({machine.xdp.program}) is on it"
        yield _error(name, words, f"ip link set dev {name} xdp off, or whoever put it there")
    elif machine.xdp.mode is not None and machine.xdp.mode != found.instance.mode:
        yield _warning(name, f"it runs in {machine.xdp.mode} mode", "gtm balance run --replace")
    if there.lro:
        yield _error(name, "LRO joins packets of clients to larger ones", f"ethtool -K {name} lro off")
    if not native and there.gro:
        words = "GRO joins packets before a generic program sees them, and what is larger than the MTU does not fit"
        yield _warning(name, words, f"ethtool -K {name} gro off")
    if native and there.mtu_bytes > NATIVE_MTU_BYTES:
        words = f"most drivers have no native XDP with an MTU of {there.mtu_bytes}, above {NATIVE_MTU_BYTES}"
        yield _warning(name, words, f"ip link set dev {name} mtu {NATIVE_MTU_BYTES}, or mode: generic")
    if not native and there.driver not in {None, "veth", "tun"}:
        yield _warning(
            name, f"generic mode costs several times native's, which {there.driver} may have", "mode: native"
        )
    if not there.up:
        yield _error(name, "is down, so no packet comes or goes", f"ip link set dev {name} up")
    if there.mtu_bytes < found.instance.mtu_bytes:
        words = f"its MTU is {there.mtu_bytes}, and dataplane/services.yaml says {found.instance.mtu_bytes}"
        yield _error(name, words, f"ip link set dev {name} mtu {found.instance.mtu_bytes}, or `mtu` of the instance")
    if there.queues is not None and there.queues < machine.cpus:
        most = there.queues if there.queues_max is None else there.queues_max
        words = f"{there.queues} receive queues keep {machine.cpus - there.queues} of {machine.cpus} CPUs idle"
        advice = f"ethtool -L {name} combined {min(most, machine.cpus)}" if most > there.queues else None
        yield _warning(name, words, advice)
    if there.vlans and there.strips_vlan:
        words = f"the card takes tags off ({', '.join(there.vlans)}), so frames would go out without theirs"
        yield _warning(name, words, f"ethtool -K {name} rxvlan off")
    if native and there.driver == "veth":
        words = "between virtual machines, checksums may be unfinished when packets come, and native XDP leaves them so"
        yield _warning(name, words, "ethtool -K IFACE tx off at its peer")


def _network(found: Balancing, machine: Machine) -> Iterator[Finding]:
    instance = found.instance
    for hop, mac in machine.neighbours.items():
        if mac is None:
            words = f"{hop} does not answer ARP or neighbour solicitation: backends by it are out"
            yield _error("next hop", words, f"look why: ip neigh show dev {instance.interface}; or give its `mac`")
    for vip in machine.own_vips:
        words = f"{vip} is an address of this machine: what is not balanced, the kernel answers, with resets"
        yield _warning("VIP", words, f"ip address del {vip} from where it is")
    forwards = machine.sysctls.get("net/ipv4/ip_forward") or machine.sysctls.get("net/ipv6/conf/all/forwarding")
    if forwards:
        words = "the kernel forwards, so what comes to a VIP and is not balanced goes out again, and may come back"
        yield _warning("forwarding", words, "sysctl -w net.ipv4.ip_forward=0, or a firewall that drops it")
    filters = (machine.sysctls.get(f"net/ipv4/conf/{each}/rp_filter", 0) for each in ("all", instance.interface))
    if max(filters) == 1 and any(each.through is Through.VIP for each in found.dataplane.services.values()):
        words = "rp_filter is strict: answers to checks through the VIP may be dropped"
        yield _warning("rp_filter", words, f"sysctl -w net.ipv4.conf.{instance.interface}.rp_filter=2")
    yield from _headroom(found)


def _headroom(found: Balancing) -> Iterator[Finding]:
    """Where full packets of clients do not fit into the encapsulation."""
    instance = found.instance
    for service in found.dataplane.services.values():
        tight = [each for each in service.backends_of(instance.region) if room_bytes(each, instance) < CLIENT_MTU_BYTES]
        if not tight:
            continue
        room = min(room_bytes(each, instance) for each in tight)
        mss = min(advmss_bytes(room, vip.version) for vip in service.vips)
        names = ", ".join(each.name for each in tight[:3]) + (", ..." if len(tight) > 3 else "")
        words = f"packets of more than {room} octets do not fit on the way to {names}"
        yield _warning(
            service.name, words, f"a larger MTU there, or advmss {mss} on these backends (gtm balance setup)"
        )


def _wrapped(found: Balancing, *wraps: Wrap) -> bool:
    here = (service.backends_of(found.instance.region) for service in found.dataplane.services.values())
    return any(each.wrap in wraps for some in here for each in some)


def _error(about: str, message: str, advice: str | None = None) -> Finding:
    return Finding(severity=Severity.ERROR, about=about, message=message, advice=advice)


def _warning(about: str, message: str, advice: str | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, about=about, message=message, advice=advice)
