"""A small deployment whose load is watched: two regions, instances of every form."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from gtm.model.deployment import Deployment
from gtm.model.load import LoadSettings
from gtm.model.pool import Instance, Pool
from tests.decide.world import deployment as whole

INSTANCES = (
    Instance(region="us-east", a=IPv4Address("192.0.2.11"), aaaa=IPv6Address("2001:db8::11")),
    Instance(region="us-east", a=IPv4Address("192.0.2.12"), probe=ip_address("10.0.1.12")),
    Instance(region="eu-west", aaaa=IPv6Address("2001:db8::21"), probe=ip_address("10.0.2.1")),
    Instance(region="eu-west", a=IPv4Address("192.0.2.22"), probe=ip_address("10.0.2.1")),
)
ALIAS = Instance(region="us-west", cname="LB.us-west.example.net.")
EAST_1, EAST_2 = "instance/us-east/192.0.2.11", "instance/us-east/192.0.2.12"


def deployment(load: LoadSettings | None = None) -> Deployment:
    """The deployment, with these settings of load."""
    pools = (
        Pool(name="example.com/web", check=None, instances=INSTANCES),
        Pool(name="example.com/too", check=None, instances=INSTANCES[:1]),
        Pool(name="example.com/alias", check=None, instances=(ALIAS,)),
    )
    return replace(whole(pools=pools), load=load)
