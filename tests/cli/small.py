"""A small deployment: two regions, three names, places from overrides alone."""

from __future__ import annotations

import socket
from pathlib import Path

NODE = """\
node: small
listen: ["127.0.0.1:{dns}"]
api: 127.0.0.1:{api}
workers: 1
"""

REGIONS = """\
regions:
  us-east: {latitude: 39.04, longitude: -77.49, share: 60%}
  eu-west: {latitude: 53.35, longitude: -6.26, share: 40%}
"""

OVERRIDES = """\
network,country,subdivision,latitude,longitude,asn,comment
198.51.100.0/24,US,US-NY,40.7,-74.0,,
203.0.113.0/24,DE,,52.5,13.4,,
192.0.2.0/25,US,US-NY,40.7,-74.0,,
192.0.2.128/25,DE,,52.5,13.4,,
"""

CHECKS = """\
checks:
  web:
    http: {{port: {check}, path: /healthz}}
    interval: 1s
    timeout: 500ms
    fall: 1
    rise: 1
"""

ZONE = """\
$TTL 300
@       SOA ns1 hostmaster 1 7200 900 1209600 300
        NS  ns1
ns1     A   192.0.2.53
text    TXT "hello there"
alias   CNAME www
sub     NS  ns.sub
ns.sub  A   192.0.2.54
"""

STEERING = """\
pools:
  web:
    check: web
    us-east: [{a: 127.0.1.91, weight: 30}, {a: 127.0.1.92, weight: 10}]
    eu-west: [127.0.2.91]
  lonely:
    check: web
    eu-west: [127.0.2.91]
names:
  www: {pool: web, ttl: 20}
  "*.wild": {pool: web}
  one: {pool: lonely, all_down: nodata}
expect:
  - {ask: www A, from: 198.51.100.9, region: us-east}
  - {ask: www A, from: DE, region: eu-west}
  - {ask: www A, from: 198.51.100.9, down: us-east, region: eu-west}
  - {ask: one A, from: 198.51.100.9, down: eu-west, nodata: true}
"""


def write(folder: Path, *, dns: int = 5300, api: int = 8053, check: int = 8080) -> Path:
    """Write the deployment and return its folder."""
    for name, text in (
        ("gtm.yaml", NODE.format(dns=dns, api=api)),
        ("geodata/regions.yaml", REGIONS),
        ("geodata/overrides.csv", OVERRIDES),
        ("probes/checks.yaml", CHECKS.format(check=check)),
        ("zones/example.test.zone", ZONE),
        ("zones/example.test.yaml", STEERING),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def free_port() -> int:
    """A port of 127.0.0.1 that was free just now for both UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
