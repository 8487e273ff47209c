"""A backend's decapsulation as an executable specification: a frame and the settings give a verdict and a frame.

It says in Python what dataplane/src/decap.h says in C, and a differential test runs both on the same frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import pack, unpack_from

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, checksum

GRE, IPIP, IPV6 = 47, 4, 41
IP4, IP6, TAGS = b"\x08\x00", b"\x86\xdd", (b"\x81\x00", b"\x88\xa8")


class Verdict(IntEnum):
    """What became of a frame (enum gtm_decap_verdict)."""

    LEFT = 0
    UNWRAPPED = 1
    SENT_ON = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A TCP connection as its packets to this machine have it; addresses of 4 or 16 bytes."""

    source: bytes
    target: bytes
    source_port: int
    target_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Whose frames are unwrapped: outer sources within these (empty: none), GUE to this port.

    `known`: whether this machine has a socket for a flow. A listener that gave the flow a SYN cookie is such a socket;
    another listener is not.
    """

    source4: bytes = b""
    mask4: bytes = bytes(4)
    source6: bytes = b""
    port: int = 0
    known: Callable[[Flow], bool] = lambda _flow: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """Where things are in a frame: the outer header, the packet within, and GUE's private data (0: none of use)."""

    l3: int
    outer: int
    inner: int
    six: bool
    private: int = 0


def decap(frame: bytes, settings: Settings) -> tuple[Verdict, bytes]:
    """The verdict on `frame`, and the frame as it then is: what is LEFT is as it was."""
    wrapped = parse(frame, settings)
    if wrapped is None:
        return Verdict.LEFT, frame
    if wrapped.private and not _stays(frame[wrapped.inner :], wrapped, settings):
        return Verdict.SENT_ON, _turn(frame, wrapped)
    return Verdict.UNWRAPPED, frame[: wrapped.l3 - 2] + (IP6 if wrapped.six else IP4) + frame[wrapped.inner :]


def parse(frame: bytes, settings: Settings) -> Wrapped | None:
    """What our balancers wrapped, in a frame with up to two VLAN tags; None for all else."""
    at = 12
    while at < 20 and frame[at : at + 2] in TAGS:
        at += 4
    kind, l3 = frame[at : at + 2], at + 2
    ip = frame[l3:]
    if kind == IP4 and len(ip) >= 20 and ip[0] == 0x45 and not unpack_from("!H", ip, 6)[0] & 0x3FFF:
        outer, protocol = 20, ip[9]
        ours = bool(any(settings.mask4)) and _masked(ip[12:16], settings.mask4) == settings.source4
    elif kind == IP6 and len(ip) >= 40:
        outer, protocol = 40, ip[6]
        ours = any(settings.source6) and ip[8:16] == settings.source6
    else:
        return None
    found = _behind(frame, l3, outer, protocol, settings.port) if ours else None
    if found is None:
        return None
    inner = frame[found.inner :]
    whole = len(inner) >= (40 if found.six else 20) and inner[0] >> 4 == (6 if found.six else 4)
    return found if whole else None


def _masked(address: bytes, mask: bytes) -> bytes:
    return bytes(a & m for a, m in zip(address, mask, strict=True))


def _behind(frame: bytes, l3: int, outer: int, protocol: int, port: int) -> Wrapped | None:
    """What an outer header of that size and protocol is followed by."""
    shim = frame[l3 + outer :]
    size = private = 0
    if protocol == GRE:  # RFC 2784, and no more than its first word
        if len(shim) < 4 or shim[:2] != b"\0\0":
            return None
        protocol, size = {IP4: IPIP, IP6: IPV6}.get(shim[2:4], 0), 4
    elif protocol == UDP:  # draft-ietf-intarea-gue, variant 0
        if len(shim) < 12 or unpack_from("!H", shim, 2)[0] != port:
            return None
        words, protocol = shim[8], shim[9]
        size = 12 + 4 * words
        if words not in {0, 2, 5} or len(shim) < (20 if words else 12):
            return None
        usable = {2: (20, b"\0\0"), 5: (40, b"\0\x01")}.get(words) == (outer, shim[12:14])
        private = l3 + outer + 12 if usable and shim[14] < shim[15] else 0
    if protocol not in {IPIP, IPV6}:
        return None
    return Wrapped(l3=l3, outer=outer, inner=l3 + outer + size, six=protocol == IPV6, private=private)


def _stays(ip: bytes, wrapped: Wrapped, settings: Settings) -> bool:
    """Whether the packet is for this machine: all but what belongs to a TCP flow that it does not know."""
    flow = _flow(ip, six=wrapped.six)
    return flow is None or settings.known(flow)


def _flow(ip: bytes, *, six: bool) -> Flow | None:
    """The flow of a TCP packet that is no SYN, or of one that an ICMP error quotes; None for what is neither."""
    head, protocol = (40, ip[6]) if six else (20, ip[9])
    if not six and (ip[0] != 0x45 or unpack_from("!H", ip, 6)[0] & 0x3FFF):
        return None
    body = ip[head:]
    if protocol == (ICMP6 if six else ICMP):
        return _quoted(body, six=six)
    if protocol != TCP or len(body) < 20 or body[13] & 0x12 == 2:
        return None
    source, target = (ip[8:24], ip[24:40]) if six else (ip[12:16], ip[16:20])
    ports = unpack_from("!HH", body)
    return Flow(source=source, target=target, source_port=ports[0], target_port=ports[1])


def _quoted(icmp: bytes, *, six: bool) -> Flow | None:
    quoted, head = icmp[8:], 40 if six else 20
    if len(quoted) < head + 8 or icmp[0] not in ({1, 2, 3, 4} if six else {3, 11, 12}):
        return None
    if six:
        if quoted[0] >> 4 != 6 or quoted[6] != TCP:
            return None
        sender, receiver = quoted[8:24], quoted[24:40]
    else:
        if quoted[0] != 0x45 or unpack_from("!H", quoted, 6)[0] & 0x1FFF or quoted[9] != TCP:
            return None
        sender, receiver = quoted[12:16], quoted[16:20]
    ours, theirs = unpack_from("!HH", quoted, head)
    return Flow(source=receiver, target=sender, source_port=theirs, target_port=ours)


def _turn(frame: bytes, wrapped: Wrapped) -> bytes:
    """The frame to the next hop: the outer target, IPv4's sum, the index of the next hop, and the MACs turned round."""
    l3, private = wrapped.l3, wrapped.private
    index = bytes([frame[private + 2] + 1])
    hop = frame[private + 4 : private + (8 if wrapped.outer == 20 else 20)]
    head = frame[l3 : l3 + wrapped.outer - len(hop)] + hop
    if wrapped.outer == 20:
        head = head[:10] + pack("!H", _corrected(frame[l3 : l3 + 20], hop)) + head[12:]
    rest = frame[l3 + wrapped.outer : private + 2] + index + frame[private + 3 :]
    return frame[6:12] + frame[:6] + frame[12:l3] + head + rest


def _corrected(head: bytes, target: bytes) -> int:
    """IPv4's sum for another target (RFC 1624): a header that was damaged stays damaged."""
    old = [unpack_from("!H", head, at)[0] for at in (10, 16, 18)]
    new = unpack_from("!HH", target)
    return checksum(pack("!5H", *(~word & 0xFFFF for word in old), *new))
