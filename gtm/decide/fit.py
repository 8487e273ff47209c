"""What fits: how much an encapsulation adds, the largest packet that goes through, the MSS that keeps within it."""

from __future__ import annotations

from gtm.model.balance import Backend, Instance, Wrap

_SHIMS = {Wrap.IPIP: 0, Wrap.GRE: 4, Wrap.GUE: 12}  # octets beside the outer IP header; GUE's with its UDP header
_SECOND_CHANCE = {4: 8, 6: 20}  # GUE's private data: a type, and an address of the outer header's family
_TCP = 20
_CLIENT_MTU = 1500  # clients with more have a path with less


def overhead_bytes(backend: Backend) -> int:
    """How many octets the encapsulation adds to a packet at most; 0 for L2."""
    if backend.wrap is Wrap.L2:
        return 0
    header = 40 if backend.address.version == 6 else 20
    return header + _SHIMS[backend.wrap] + (_SECOND_CHANCE[backend.address.version] if backend.second_chance else 0)


def mtu_bytes(backend: Backend, instance: Instance) -> int:
    """The largest outer packet on the way from an instance to a backend."""
    return instance.mtu_bytes if backend.mtu_bytes is None else min(backend.mtu_bytes, instance.mtu_bytes)


def room_bytes(backend: Backend, instance: Instance) -> int:
    """The largest packet of a client that goes through; larger ones are answered by ICMP."""
    return mtu_bytes(backend, instance) - overhead_bytes(backend)


def advmss_bytes(room: int, version: int) -> int:
    """The MSS (RFC 9293, 3.7.1) that a backend must advertise, so that segments of clients of that IP version fit.

    A balancer cannot do it for the backend: it sees what comes from clients, and this is what the backend tells them.
    """
    return min(room, _CLIENT_MTU) - (40 if version == 6 else 20) - _TCP
