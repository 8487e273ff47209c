"""`gtm balance decap`: on a backend, the program that takes the balancers' outer headers off, and its second chance."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gtm.config.nearby import listed
from gtm.model.address import IPNetwork
from gtm.model.balance import AttachMode
from gtm.model.errors import AskedError, GtmError
from gtm.publish.dataplane import bpf, layout, link, tc
from gtm.publish.dataplane.pins import Pins
from gtm.web.document import as_object

OBJECT = Path(bpf.__file__).with_name("decap.bpf.o")
PINS = Path("/sys/fs/bpf/gtm-decap")
CONF = Path("/proc/sys/net/ipv4/conf")
PROGRAM, VERSION = "gtm_decap", f"decap-{layout.DECAP_SETTINGS.itemsize}"
NATIVE, TC = str(AttachMode.NATIVE), "tc"
CPUS = 64  # lines of counters (GTM_DECAP_CPUS)
STRICT = 1  # of rp_filter (RFC 3704)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decap:
    """What unwraps on an interface: from which outer sources, GUE at which port; `notes` say what to think of.

    `mode` is native, generic or tc; None: nothing is there. `outcome` is what was done: attached, updated, moved (from
    another mode), removed; None: nothing. Packets are counted since it was attached for the first time: `unwrapped`,
    `sent_on` to who had the flow before, and `left` as they were, not being the balancers'.
    """

    interface: str
    mode: str | None
    sources: tuple[str, ...] = ()
    port: int = 0
    outcome: str | None = None
    unwrapped: int = 0
    sent_on: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()


def attach(
    interface: str,
    *,
    sources: Sequence[IPNetwork],
    port: int,
    mode: str = NATIVE,
    replace: bool = False,
    pins: Path = PINS,
    program: Path = OBJECT,
) -> Decap:
    """Unwrap what comes from these networks, from now on and when this process is gone; it may be said again and again.

    At most one network of each family, the IPv6 one a /64. Raises AskedError for others, GtmError where the kernel does
    not do it. `replace`: from native to generic or back, with a moment in between; to tc and from it there is none.
    """
    wanted = _sources(sources)
    here = _pins(pins, interface)
    try:
        with here.load(program) as loaded:
            settings = loaded.map_view(".bss", layout.DECAP_SETTINGS)[0]
            for name, value in wanted.items():
                settings[name] = value
            settings["port"] = port
            outcome = _attach(loaded, interface, mode=mode, pin=here.link(interface), replace=replace)
    except OSError as error:
        raise GtmError(f"the program for backends cannot be loaded: {_words(error)}") from error
    return dataclasses.replace(show(interface, pins=pins), outcome=outcome)


def _words(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "not permitted: that needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    return error.strerror or str(error)


def show(interface: str, *, pins: Path = PINS) -> Decap:
    """What unwraps now. Raises GtmError."""
    here = _pins(pins, interface)
    folder = here.maps / OBJECT.name.split(".")[0]
    try:
        mode = _mode(interface, here.link(interface))
        settings = _read(folder / "bss", layout.DECAP_SETTINGS, 1) if mode else None
        counters = _read(folder / "counters", layout.DECAP_COUNTERS, CPUS) if mode else None
    except OSError as error:
        raise GtmError(f"{interface}: {error.strerror or error}") from error
    if settings is None or counters is None:
        return Decap(interface=interface, mode=mode)
    left, unwrapped, sent_on = (int(each) for each in counters["packets"].sum(axis=0)[:3])
    return Decap(
        interface=interface,
        mode=mode,
        sources=tuple(_written(settings[0])),
        port=int(settings[0]["port"]),
        unwrapped=unwrapped,
        sent_on=sent_on,
        left=left,
        notes=tuple(_notes(interface)),
    )


def detach(interface: str, *, pins: Path = PINS) -> Decap:
    """Take the program off. Raises GtmError."""
    here = _pins(pins, interface)
    try:
        by_tc, by_link = tc.detach(interface), link.detach(here.link(interface))
        here.remove()
    except OSError as error:
        raise GtmError(f"{interface}: {error.strerror or error}") from error
    return Decap(interface=interface, mode=None, outcome="removed" if by_tc or by_link else None)


def _attach(loaded: bpf.Object, interface: str, *, mode: str, pin: Path, replace: bool) -> str:
    """Attach first and take off what was there in another way then: what is unwrapped is not unwrapped twice."""
    if mode == TC:
        there = tc.attach(loaded.program(f"{PROGRAM}_tc"), interface)
        moved = link.detach(pin)
    else:
        outcome = link.attach(loaded.program(PROGRAM), interface=interface, mode=mode, pin=pin, move=replace)
        there = outcome is link.Outcome.UPDATED
        moved = tc.detach(interface) or outcome is link.Outcome.MOVED
    return str(link.Outcome.MOVED if moved else link.Outcome.UPDATED if there else link.Outcome.ATTACHED)


def _mode(interface: str, pin: Path) -> str | None:
    found = link.program_of(pin)
    if found is not None and link.hook(interface).program == found:
        return link.hook(interface).mode
    return None if tc.program(interface) is None else TC


def _read(pin: Path, dtype: np.dtype[np.void], entries: int) -> NDArray[np.void] | None:
    """The records of a pinned map, copied; None where there is none."""
    fd = bpf.pinned(pin)
    if fd is None:
        return None
    try:
        return bpf.view(fd, entries * dtype.itemsize, dtype).copy()
    finally:
        os.close(fd)


def _written(settings: np.void) -> Iterator[str]:
    """The networks as settings have them."""
    source4, mask4 = (IPv4Address(settings[name].tobytes()) for name in ("source4", "mask4"))
    if int(mask4):
        yield str(ip_network(f"{source4}/{mask4}"))
    if any(source6 := settings["source6"].tobytes()):
        yield str(ip_network((IPv6Address(source6 + bytes(8)), 64)))


def _pins(folder: Path, interface: str) -> Pins:
    """Each interface has settings of its own; a bpffs takes no dots in names."""
    return Pins(folder / interface.replace(".", ":"), version=VERSION)


def _sources(sources: Sequence[IPNetwork]) -> dict[str, bytes]:
    """The settings' fields; zero takes nothing for a balancer's."""
    found = {"source4": bytes(4), "mask4": bytes(4), "source6": bytes(8)}
    seen: set[int] = set()
    for each in sources:
        if each.version in seen:
            known = listed(str(one) for one in sources if one.version == each.version)
            raise AskedError(f"one network of IPv{each.version}, not {known}", argument="--from")
        seen.add(each.version)
        if each.version == 4:
            found["source4"], found["mask4"] = each.network_address.packed, each.netmask.packed
            if not each.prefixlen:
                raise AskedError(f"{each} is everybody", argument="--from")
        elif each.prefixlen != 64:
            raise AskedError(f"{each} is no /64", argument="--from")
        else:
            found["source6"] = each.network_address.packed[:8]
    return found


def _notes(interface: str) -> Iterator[str]:
    strict = [name for name in ("all", interface) if _setting(name, "rp_filter") == STRICT]
    if strict:
        names = " and ".join(f"net.ipv4.conf.{name}.rp_filter" for name in strict)
        yield f"{names} = 1: clients whose way back is not by {interface} are dropped; 0 or 2 lets them in"
    if _setting("all", "arp_ignore") == 0 and _setting(interface, "arp_ignore") == 0:
        yield "net.ipv4.conf.all.arp_ignore = 0: it answers ARP for VIPs on lo; 1 (and arp_announce = 2) keeps it quiet"


def _setting(name: str, key: str) -> int | None:
    try:
        return int((CONF / name / key).read_text())
    except (OSError, ValueError):
        return None


def decap_document(found: Decap) -> dict[str, object]:
    """What unwraps, as JSON."""
    return as_object(found)


def decap_text(found: Decap) -> str:
    """What unwraps, as text."""
    if found.mode is None:
        return f"{found.interface}: nothing is unwrapped{' any more' if found.outcome else ''}"
    how = found.mode if found.outcome is None else f"{found.outcome}, {found.mode}"
    sources = ", ".join(found.sources)
    return "\n".join(
        (
            f"{found.interface}: unwraps what comes from {sources}, GUE at port {found.port} ({how})",
            f"  {found.unwrapped} packets unwrapped, {found.sent_on} sent on, {found.left} left as they were",
            *(f"note: {note}" for note in found.notes),
        )
    )
