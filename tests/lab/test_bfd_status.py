"""BFD between FRR and BIRD on a wire, and what is read of it at both ends."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from gtm.app.announce.bfd import Sessions, read_sessions
from tests.lab.daemons import Bird, Frr, needs_routers
from tests.lab.fabric import fabric, until
from tests.lab.network import needs_network

FRR = """
bfd
 profile fast
  transmit-interval 50
  receive-interval 50
  detect-multiplier 3
 exit
 peer 10.71.1.2 local-address 10.71.1.1 interface router
  profile fast
 exit
exit
"""
BIRD = """
router id 10.71.1.2;
protocol device {}
protocol bfd bfd1 { interface "*" { interval 50 ms; multiplier 3; }; neighbor 10.71.1.1 dev "edge" local 10.71.1.2; }
"""


def test_both_ends_are_read() -> None:
    needs_network()
    needs_routers()
    with fabric() as net:
        left, right = net.host("edge"), net.host("router")
        net.join("edge", "router", "71.1")
        frr = Frr(left, net.folder / "frr", daemons=("zebra", "bfdd"))
        frr.start(FRR)
        bird = Bird(right, net.folder / "bird")
        bird.start(BIRD)

        def by_frr() -> Sessions:
            return read_sessions(frr=frr.folder, bird=())

        def by_bird() -> Sessions:
            return read_sessions(frr=net.folder, bird=(bird.control,))

        found = await_state(by_frr, up=True)
        (one,) = found.sessions
        assert (found.daemon, one.peer) == ("frr", ip_address("10.71.1.2"))
        assert (one.transmit_ms, one.receive_ms, one.multiplier) == (50.0, 50.0, 3)
        assert one.since_s_ago is not None
        found = await_state(by_bird, up=True)
        (one,) = found.sessions
        assert (found.daemon, one.peer) == ("bird", ip_address("10.71.1.1"))
        assert (one.transmit_ms, one.timeout_ms) == (50.0, 150.0)
        net.silence(right)
        await_state(by_frr, up=False)
        await_state(by_bird, up=False)


def await_state(read: Callable[[], Sessions], *, up: bool) -> Sessions:
    """What is read once the one session there is has this state."""
    found: list[Sessions] = []

    def holds() -> bool:
        found[:] = [read()]
        return [one.up for one in found[0].sessions] == [up]

    until(holds, f"the session is {'up' if up else 'down'}")
    return found[0]
