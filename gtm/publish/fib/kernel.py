"""The kernel's forwarding table by rtnetlink: read, watched and changed. Changing it takes CAP_NET_ADMIN."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Iterator

from gtm.model.errors import PublishError
from gtm.model.fib import Fib, FibSettings, Group, Hop, KernelRoute
from gtm.publish.fib.changes import PROTOCOL, Change, Drop, DropRoute, PutGroup, PutHop, PutRoute, within
from gtm.wire import rtnetlink
from gtm.wire.error import WireError

SOL_NETLINK, ADD_MEMBERSHIP, GET_STRICT_CHK = 270, 1, 12
WATCHED = (1, 7, 11, 32)  # RTNLGRP_LINK, _IPV4_ROUTE, _IPV6_ROUTE, _NEXTHOP
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 8 << 20  # 256 routes that go at once overrun the usual one
DATAGRAM_BYTES = 1 << 18
REPLY_S = 10.0
# Of a link that has just gone, or a neighbour's object with it: the next look sees what became of it.
PASSING = {errno.ENOENT, errno.ESRCH, errno.ENETDOWN, errno.ENODEV, errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH}


class Kernel:
    """One socket for questions and changes, one for what happens. Raises PublishError where it cannot be had."""

    def __init__(self) -> None:
        """In this process's network namespace."""
        self._asking = _socket()
        self._watching = _socket()
        self._sequence = 0
        with _told("watch routes"):
            self._asking.setsockopt(SOL_NETLINK, GET_STRICT_CHK, 1)
            for group in WATCHED:
                self._watching.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        self._watching.settimeout(0.0)

    def close(self) -> None:
        """Close both sockets; what was made stays."""
        self._asking.close()
        self._watching.close()

    def read(self, settings: FibSettings) -> Fib:
        """What is there of the routes that matter, and of what is ours."""
        routes: list[KernelRoute] = []
        for family in (rtnetlink.AF_INET, rtnetlink.AF_INET6):
            for protocol in (*sorted(settings.protocols), PROTOCOL):
                asked = rtnetlink.dump_routes(family, protocol, self._next())
                routes += filter(None, map(rtnetlink.read_route, self._ask(asked, "read routes")))
        hops: dict[int, Hop] = {}
        groups: dict[int, Group] = {}
        for message in self._ask(rtnetlink.dump_next_hops(self._next()), "read next hops"):
            found = rtnetlink.read_next_hop(message)
            if found.protocol == PROTOCOL and found.hop is not None:
                hops[found.number] = found.hop
            elif found.protocol == PROTOCOL and found.group is not None:
                groups[found.number] = found.group
        kept = (one for one in routes if one.protocol == PROTOCOL or within(one.prefix, settings.prefixes))
        return Fib(routes=tuple(kept), hops=hops, groups=groups)

    def apply(self, change: Change) -> bool:
        """Make a change; False where the kernel's state has moved on meanwhile, so that it has to be read again."""
        sequence = self._next()
        try:
            for message in self._ask(_encoded(change, sequence), str(change)):
                raise PublishError(f"unexpected answer {message.kind}", target="kernel", change=str(change))
        except OSError as error:
            if error.errno in PASSING:
                return False
            reason = "another's route has this metric" if error.errno == errno.EEXIST else os.strerror(error.errno or 0)
            raise PublishError(reason, target="kernel", change=str(change)) from error
        return True

    def wait(self, settings: FibSettings, timeout_s: float | None) -> bool:
        """Until something that matters has happened; False where nothing has for `timeout_s` seconds."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
            if not select.select([self._watching], [], [], left_s)[0]:
                return False
            if self._happened(settings):
                return True

    def _happened(self, settings: FibSettings) -> bool:
        """Whether anything that waits to be read matters; all of it is read."""
        matters = False
        while True:
            try:
                data = self._watching.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return matters
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise PublishError(str(error), target="kernel", change="watch routes") from error
                matters = True  # something was missed: look at everything
                continue
            matters = matters or any(_matters(message, settings) for message in rtnetlink.messages(data))

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        return self._sequence

    def _ask(self, request: bytes, what: str) -> Iterator[rtnetlink.Message]:
        """The answer's messages. Raises OSError with the kernel's errno, PublishError where there is no answer."""
        with _told(what):
            self._asking.send(request)
        while True:
            try:
                data = self._asking.recv(DATAGRAM_BYTES)
            except OSError as error:
                raise PublishError(str(error), target="kernel", change=what) from error
            for message in rtnetlink.messages(data):
                if message.sequence != self._sequence:
                    continue
                if message.kind == rtnetlink.NLMSG_DONE:
                    return
                if message.kind == rtnetlink.NLMSG_ERROR:
                    if (number := rtnetlink.refusal(message)) != 0:
                        raise OSError(number, os.strerror(number))
                    return
                yield message


class _told:  # noqa: N801 - it is used as a statement
    """OSErrors inside become PublishErrors."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise PublishError(error.strerror or str(error), target="kernel", change=self._what) from error


def _socket() -> socket.socket:
    with _told("open rtnetlink"):
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        made.bind((0, 0))
        made.settimeout(REPLY_S)
        try:
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        return made


def _matters(message: rtnetlink.Message, settings: FibSettings) -> bool:
    if message.kind in {rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK}:
        return True  # hops that come back with a link are not told of otherwise
    try:
        if message.kind in {rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE}:
            route = rtnetlink.read_route(message)
            return route is not None and within(route.prefix, settings.prefixes)
        if message.kind in {rtnetlink.RTM_NEWNEXTHOP, rtnetlink.RTM_DELNEXTHOP}:
            return rtnetlink.read_next_hop(message).protocol == PROTOCOL
    except WireError:
        return True
    return False


def _encoded(change: Change, sequence: int) -> bytes:
    match change:
        case PutHop():
            return rtnetlink.put_hop(change.number, change.hop, PROTOCOL, sequence)
        case PutGroup():
            return rtnetlink.put_group(change.number, change.group, PROTOCOL, sequence)
        case PutRoute():
            return rtnetlink.put_route(
                change.prefix,
                change.group,
                metric=change.metric,
                protocol=PROTOCOL,
                replaces=change.replaces,
                sequence=sequence,
            )
        case DropRoute():
            return rtnetlink.delete_route(change.prefix, metric=change.metric, protocol=PROTOCOL, sequence=sequence)
        case Drop():
            return rtnetlink.delete_next_hop(change.number, sequence)
