"""The end of an announcer in its order: withdraw, wait for connections, take addresses off. In a network of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from gtm.app.announce import addresses
from gtm.app.announce.connections import count
from gtm.model.anycast import Service
from tests.app.announce.announcer import DEADLINE_S, PREFIX, Announcer, announced, children, settled, web
from tests.lab.fabric import fabric
from tests.lab.network import Host

VIP = ip_address("203.0.113.1")
CLIENT = ("127.0.0.1", 0)
WITH_ADDRESS = f"    addresses: [{VIP}]\n"


@contextlib.contextmanager
def edge(folder: Path, **settings: str) -> Iterator[tuple[Announcer, Host]]:
    """An announcer with an address on the loopback of a host of its own."""
    with fabric() as made, announced(folder, host=made.host("edge"), service=WITH_ADDRESS, **settings) as one:
        assert one.host is not None
        assert web(one.report()).present == {VIP: True}
        assert present(one.host)
        yield one, one.host


def present(host: Host) -> bool:
    return VIP in host.inside(lambda: addresses.present("lo"))


def connected(host: Host) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection to the address."""
    with host.inside(lambda: socket.create_server((str(VIP), 0))) as listener:
        name = listener.getsockname()
        client = host.inside(lambda: socket.create_connection(name, DEADLINE_S, CLIENT))
        return client, listener.accept()[0]


def test_withdrawn_first_then_connections_then_addresses(tmp_path: Path) -> None:
    with edge(tmp_path) as (one, host):
        before = one.report()
        client, server = connected(host)
        one.until("the connection is counted", lambda found: web(found).connections == 1)
        assert one.exabgp is not None
        one.exabgp.send_signal(signal.SIGTERM)
        one.sink.wait("the session has ended, and its routes", lambda: one.sink.ended == 1)
        assert one.exabgp.wait(DEADLINE_S) == 0
        one.wait_gone(before.supervisor_pid)
        assert present(host)  # somebody still uses it
        assert one.report().pid == before.pid  # and that is waited for
        client.close()
        server.close()
        one.wait_gone(before.pid)
        assert not present(host)
        after = one.report()
        assert after.pid == 0
        assert web(after).present == {VIP: False}
        assert one.log.index('"stopping"') < one.log.index('"addresses_off"')


def test_after_a_crash_addresses_wait_for_whoever_comes_next(tmp_path: Path) -> None:
    with edge(tmp_path) as (one, host):
        before = one.report()
        client, server = connected(host)
        with client, server:
            assert one.exabgp is not None
            one.exabgp.kill()
            one.exabgp.wait(DEADLINE_S)
            one.sink.table.clear()
            one.start()
            one.wait_table(PREFIX)
            one.until("another one announces", lambda found: found.pid != before.pid and settled(found))
            one.wait_gone(before.pid)
        assert present(host)
        assert '"addresses_off"' not in one.log


def test_an_announcer_alone_that_ends_leaves_the_addresses_to_the_next(tmp_path: Path) -> None:
    with edge(tmp_path) as (one, host):
        before = one.report()
        assert one.exabgp is not None
        (supervisor,) = children(one.exabgp.pid)
        assert supervisor == before.supervisor_pid
        one.signal(supervisor, signal.SIGTERM)
        one.until("another one announces", lambda found: found.pid != before.pid and settled(found))
        one.wait_gone(before.pid)
        assert present(host)


def test_an_address_that_somebody_took_off_is_put_on_again(tmp_path: Path) -> None:
    with edge(tmp_path) as (one, host):
        host.inside(lambda: addresses.take_off("lo", VIP))
        one.wait_for("it is there again", lambda: present(host))


def test_addresses_of_both_kinds_as_often_as_one_likes() -> None:
    both = [VIP, ip_address("2001:db8:61::1")]

    def change() -> list[frozenset[object]]:
        seen: list[frozenset[object]] = []
        for act in (addresses.put_on, addresses.put_on, addresses.take_off, addresses.take_off):
            for address in both:
                act("lo", address)
            seen.append(addresses.present("lo") & frozenset(both))
        return seen

    with fabric() as made:
        assert made.host("edge").inside(change) == [frozenset(both)] * 2 + [frozenset()] * 2


def test_connections_are_those_to_the_services_addresses_and_ports() -> None:
    def counts() -> list[int | None]:
        addresses.put_on("lo", VIP)
        with (
            socket.create_server((str(VIP), 0)) as listener,
            socket.create_connection(listener.getsockname(), source_address=CLIENT),
        ):
            port = listener.getsockname()[1]
            return [
                count(service(addresses=(VIP,))),
                count(service(addresses=(VIP,), connection_ports=(port,))),
                count(service(addresses=(VIP,), connection_ports=(port % 60000 + 1,))),
                count(service(addresses=(ip_address("203.0.113.2"),))),
                count(service()),
            ]

    with fabric() as made:
        assert made.host("edge").inside(counts) == [1, 1, 0, 0, None]


def service(**facts: object) -> Service:
    return Service(
        name="web",
        prefixes=(),
        regions=(),
        local={},
        treatments={},
        providers={},
        interface="lo",
        **facts,  # type: ignore[arg-type]
    )
