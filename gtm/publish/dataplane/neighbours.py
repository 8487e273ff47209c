"""MACs of next hops, from the kernel's neighbour table: read, watched, and asked for where they are missing.

Nothing here needs a capability. Packets that the balancer sends on do not keep an entry alive, so each hop is asked for
again now and then by an empty datagram to its discard port, for which the kernel looks the neighbour up.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from gtm.model.address import IPAddress
from gtm.model.errors import PublishError
from gtm.publish.dataplane import link
from gtm.wire import rtnetlink
from gtm.wire.error import WireError

SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
RTNLGRP_NEIGH = 3
DATAGRAM_BYTES = 1 << 18
REPLY_S = 10.0
DISCARD = 9  # RFC 863


class Neighbours:
    """The neighbours on one interface of this process's network namespace. Raises PublishError where it cannot look.

    Threads may share it.
    """

    def __init__(self, interface: str) -> None:
        """Nothing is asked yet."""
        self._interface = interface
        self._link = link.index(interface)
        try:
            self._asking, self._watching = _socket(), _socket()
            self._watching.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, RTNLGRP_NEIGH)
            self._watching.settimeout(0.0)
        except OSError as error:
            raise PublishError(str(error.strerror), target=interface, change="look at neighbours") from error
        self._sequence = 0
        self._lock = threading.Lock()  # of a question and its answer

    def close(self) -> None:
        """Close the sockets."""
        self._asking.close()
        self._watching.close()

    def fileno(self) -> int:
        """Readable when something of some neighbour has changed; then `happened` tells whether it matters."""
        return self._watching.fileno()

    def happened(self, addresses: Iterable[IPAddress]) -> bool:
        """Read what has happened; whether any of these addresses is concerned, or that is not known."""
        wanted, concerned = frozenset(addresses), False
        while True:
            try:
                data = self._watching.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return concerned
            except OSError:  # ENOBUFS: something was missed
                concerned = True
                continue
            for message in rtnetlink.messages(data):
                with contextlib.suppress(WireError):
                    found = rtnetlink.read_neighbour(message)
                    concerned |= found is not None and found.link == self._link and found.address in wanted

    def find(self, addresses: Iterable[IPAddress]) -> Mapping[IPAddress, bytes]:
        """The MACs of those that are resolved now; the others, and those not heard of lately, are asked for."""
        known: dict[IPAddress, bytes] = {}
        missing = dict.fromkeys(addresses)
        with self._lock:
            every = tuple(self._read())
        for found in every:
            if found.link == self._link and found.address in missing and found.mac is not None:
                known[found.address] = found.mac
                if found.fresh:
                    del missing[found.address]
        for address in missing:
            self._ask(address)
        return known

    def find_all(self, addresses: Iterable[IPAddress], timeout_s: float) -> Mapping[IPAddress, bytes]:
        """As `find`, once all are resolved, or at the latest after `timeout_s`."""
        wanted = frozenset(addresses)
        end_s = time.monotonic() + timeout_s
        found = self.find(wanted)
        while found.keys() != wanted and (left_s := end_s - time.monotonic()) > 0:
            if select.select([self._watching], [], [], left_s)[0] and self.happened(wanted):
                found = self.find(wanted)
        return found

    def _ask(self, address: IPAddress) -> None:
        """Have the kernel look a neighbour up; that it cannot reach it is what `find` then shows."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            target = (str(address), DISCARD) if address.version == 4 else (str(address), DISCARD, 0, self._link)
            sock.sendto(b"", target)

    def _read(self) -> Iterator[rtnetlink.Neighbour]:
        self._sequence += 1
        try:
            self._asking.send(rtnetlink.dump_neighbours(self._sequence))
            while True:
                for message in rtnetlink.messages(self._asking.recv(DATAGRAM_BYTES)):
                    if message.sequence != self._sequence:
                        continue
                    if message.kind in {rtnetlink.NLMSG_DONE, rtnetlink.NLMSG_ERROR}:
                        return
                    found = rtnetlink.read_neighbour(message)
                    if found is not None:
                        yield found
        except (OSError, WireError) as error:
            raise PublishError(str(error), target=self._interface, change="look at neighbours") from error


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.bind((0, 0))
    made.settimeout(REPLY_S)
    return made
