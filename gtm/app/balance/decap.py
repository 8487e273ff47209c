"""`gtm balance decap`: on a backend, the program that takes the balancers' outer headers off, and its second chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtm.config.nearby import listed
from gtm.model.address import IPNetwork
from gtm.model.balance import AttachMode
from gtm.model.errors import AskedError, GtmError
from gtm.publish.dataplane import bpf, layout, link
from gtm.publish.dataplane.pins import Pins
from gtm.web.document import as_object

OBJECT = Path(bpf.__file__).with_name("decap.bpf.o")
PINS = Path("/sys/fs/bpf/gtm-decap")
CONF = Path("/proc/sys/net/ipv4/conf")
PROGRAM, VERSION = "gtm_decap", f"decap-{layout.DECAP_SETTINGS.itemsize}"
STRICT = 1  # of rp_filter (RFC 3704)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decap:
    """What unwraps on an interface: from which outer sources, GUE at which port; `notes` say what to think of.

    `outcome` is what was done: attached, updated, moved, removed, or None where nothing is there.
    """

    interface: str
    mode: str | None
    sources: tuple[str, ...]
    port: int
    outcome: str | None
    notes: tuple[str, ...] = ()


def attach(
    interface: str,
    *,
    sources: Sequence[IPNetwork],
    port: int,
    mode: AttachMode = AttachMode.NATIVE,
    replace: bool = False,
    pins: Path = PINS,
    program: Path = OBJECT,
) -> Decap:
    """Unwrap what comes from these networks, from now on and when this process is gone; it may be said again and again.

    At most one network of each family, the IPv6 one a /64. Raises AskedError for others, GtmError where the kernel does
    not do it. `replace`: in another mode than it runs, with a moment in between.
    """
    wanted = _sources(sources)
    try:
        with _pins(pins, interface).load(program) as loaded:
            settings = loaded.map_view(".bss", layout.DECAP_SETTINGS)[0]
            for name, value in wanted.items():
                settings[name] = value
            settings["port"] = port
            pin = _pins(pins, interface).link(interface)
            outcome = link.attach(loaded.program(PROGRAM), interface=interface, mode=mode, pin=pin, move=replace)
    except OSError as error:
        raise GtmError(f"the program for backends cannot be loaded: {error}") from error
    return Decap(
        interface=interface,
        mode=link.hook(interface).mode,
        sources=tuple(map(str, sources)),
        port=port,
        outcome=str(outcome),
        notes=tuple(_notes(interface)),
    )


def detach(interface: str, *, pins: Path = PINS) -> Decap:
    """Take the program off. Raises GtmError."""
    here = _pins(pins, interface)
    try:
        gone = link.detach(here.link(interface))
        here.remove()
    except OSError as error:
        raise GtmError(f"{interface}: {error.strerror or error}") from error
    return Decap(interface=interface, mode=None, sources=(), port=0, outcome="removed" if gone else None)


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
        return f"{found.interface}: {'nothing is unwrapped any more' if found.outcome else 'nothing was unwrapped'}"
    first = f"{found.interface}: unwraps what comes from {', '.join(found.sources)}, GUE at port {found.port}"
    return "\n".join((f"{first} ({found.outcome}, {found.mode})", *(f"note: {note}" for note in found.notes)))
