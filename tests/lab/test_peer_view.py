"""What a router's own table has of a speaker, as `view` of bgp/anycast.yaml looks at it: with FRR and with BIRD."""

from __future__ import annotations

import signal
from ipaddress import ip_address, ip_network

import pytest

from gtm.app.announce.peer_view import look
from gtm.model.anycast import Neighbour, View, ViewKind
from gtm.model.errors import PeerError
from tests.lab.daemons import Bird, Exabgp, Frr, needs_routers
from tests.lab.fabric import fabric, until

TOLD = (ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48"))
NOT_TOLD = (ip_network("203.0.113.0/25"), ip_network("2001:db8:62::/48"))
EXABGP = """\
neighbor 10.66.1.1 {
    router-id 10.66.1.2; local-address 10.66.1.2; local-as 65010; peer-as 65000; hold-time 9;
    family { ipv4 unicast; ipv6 unicast; }
    static {
        route 203.0.113.0/24 next-hop 10.66.1.2;
        route 2001:db8:61::/48 next-hop fd66:1::2;
    }
}
"""
FRR = """\
router bgp 65000
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 10.66.1.2 remote-as 65010
 neighbor 10.66.1.2 timers connect 1
 address-family ipv4 unicast
  neighbor 10.66.1.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.66.1.2 activate
 exit-address-family
exit
"""
BIRD = """\
router id 10.66.1.1;
protocol device {}
protocol bgp 'edge-1' { local 10.66.1.1 as 65000; neighbor 10.66.1.2 as 65010;
  connect delay time 1; error wait time 1,2;
  ipv4 { import all; export none; }; ipv6 { import all; export none; }; }
"""


@pytest.mark.parametrize("kind", list(ViewKind))
def test_a_route_is_seen_while_it_is_there(kind: ViewKind) -> None:
    needs_routers()
    with fabric() as made:
        router, speaker = made.host("r"), made.host("s")
        made.join("r", "s", "66.1")
        place, folder = made.folder / "router", made.folder / "speaker"
        folder.mkdir()
        if kind is ViewKind.FRR:
            Frr(host=router, folder=place, daemons=("zebra", "bgpd")).start(FRR)
            path = place
        else:
            bird = Bird(host=router, folder=place)
            bird.start(BIRD)
            path = bird.control
        neighbour = Neighbour(
            name="router",
            address=ip_address("10.66.1.1"),
            local_address=ip_address("10.66.1.2"),
            asn=65000,
            local_asn=65010,
            next_hops={},
            view=View(kind=kind, path=str(path)),
        )
        assert not any(look(neighbour, TOLD).values())
        config = folder / "exabgp.conf"
        config.write_text(EXABGP)
        exabgp = Exabgp(host=speaker, folder=folder)
        exabgp.start(config)
        until(lambda: all(look(neighbour, TOLD).values()), "both routes are seen")
        assert look(neighbour, (*TOLD, *NOT_TOLD)) == {
            **dict.fromkeys(TOLD, True),
            **dict.fromkeys(NOT_TOLD, False),
        }
        exabgp.signal(signal.SIGTERM)
        until(lambda: not any(look(neighbour, TOLD).values()), "both routes are gone")
        for process in router.processes:
            process.kill()
            process.wait(60)
        with pytest.raises(PeerError):
            look(neighbour, TOLD)
