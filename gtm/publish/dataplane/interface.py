"""An interface as XDP finds it: driver, MTU, queues and offloads, by ethtool's ioctls. Nothing is changed."""

from __future__ import annotations

import ctypes as c
import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from gtm.model.errors import PublishError

SIOCETHTOOL, SIOCGIFMTU, SIOCGIFFLAGS = 0x8946, 0x8921, 0x8913
IFF_UP = 1
GDRVINFO, GGRO, GFLAGS, GCHANNELS = 0x03, 0x2B, 0x25, 0x3C
FLAG_RXVLAN, FLAG_LRO = 1 << 8, 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What is known of an interface; None where the driver does not say. `queues` are those that receive.

    `vlans`: interfaces with tags of this one, from which the card strips tags where `strips_vlan`. `up` as it is set,
    with a cable or without.
    """

    name: str
    driver: str | None
    mtu_bytes: int
    queues: int | None
    queues_max: int | None
    lro: bool | None
    gro: bool | None
    strips_vlan: bool | None
    vlans: tuple[str, ...] = ()
    up: bool = True


def look(name: str) -> Link:
    """An interface of this thread's network namespace. Raises PublishError where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            request = fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16si", name.encode()[:15], 0) + bytes(20))
            state = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH", name.encode()[:15], 0) + bytes(22))
        except OSError as error:
            raise PublishError("there is no such interface", target=name, change="look") from error
        mtu = int(struct.unpack_from("i", request, 16)[0])
        info = _ask(sock, name, GDRVINFO, 196)
        gro = _ask(sock, name, GGRO, 8)
        flags = _ask(sock, name, GFLAGS, 8)
        channels = _ask(sock, name, GCHANNELS, 36)
    bits = None if flags is None else int(struct.unpack_from("I", flags, 4)[0])
    counts = None if channels is None else struct.unpack_from("8I", channels, 4)
    return Link(
        name=name,
        driver=None if info is None else info[4:36].split(b"\0")[0].decode("ascii", "replace"),
        mtu_bytes=mtu,
        # rx and combined: at most, and now
        queues=None if counts is None else counts[4] + counts[7],
        queues_max=None if counts is None else counts[0] + counts[3],
        lro=None if bits is None else bool(bits & FLAG_LRO),
        gro=None if gro is None else bool(struct.unpack_from("I", gro, 4)[0]),
        strips_vlan=None if bits is None else bool(bits & FLAG_RXVLAN),
        vlans=_vlans(name),
        up=bool(struct.unpack_from("H", state, 16)[0] & IFF_UP),
    )


def _ask(sock: socket.socket, name: str, command: int, size: int) -> bytes | None:
    """The answer to an ethtool command of `size` bytes; None where the driver has none."""
    buffer = c.create_string_buffer(struct.pack("I", command), size)
    request = struct.pack("16sP", name.encode()[:15], c.addressof(buffer)) + bytes(16)
    try:
        fcntl.ioctl(sock, SIOCETHTOOL, request)
    except OSError:
        return None
    return buffer.raw


def _vlans(name: str) -> tuple[str, ...]:
    """Interfaces on top of this one by VLAN tags (proc(5) has them in net/vlan/config, where there are any)."""
    try:
        lines = Path("/proc/net/vlan/config").read_text().splitlines()[2:]
    except OSError:
        return ()
    rows = (line.split("|") for line in lines)
    return tuple(row[0].strip() for row in rows if len(row) == 3 and row[2].strip() == name)
