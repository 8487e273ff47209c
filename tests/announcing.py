"""A small deployment that announces: two regions, three speakers, one of them the node itself."""

from __future__ import annotations

from pathlib import Path

from tests.cli import small

ANYCAST = """\
asn: 64500
session: {hold_time: 9s}
speakers:
  small:
    region: us-east
    address: [198.51.100.2, "2001:db8:100::2"]
    neighbours: {transit-a: 198.51.100.1}
  small2:
    region: us-east
    address: [198.51.100.4, "2001:db8:100:1::2"]
    neighbours: {transit-a: 198.51.100.3}
  edge-eu:
    region: eu-west
    address: [198.51.100.6, "2001:db8:100:2::2"]
    neighbours: {transit-a: 198.51.100.5}
providers:
  transit-a:
    asn: 64496
    words:
      not-to-peers: {communities: "64496:3000", note: not announced to peers}
services:
  web:
    prefixes: [203.0.113.0/24, "2001:db8:61::/48"]
    regions: all
    local: web
    pool: example.test/web
    base: {communities: "64500:100"}
    addresses: [203.0.113.1]
ladder:
  - {name: dns, hold: 60s}
  - {name: unattractive, med: 1000, prepend: 3, words: not-to-peers, hold: 30s}
  - {name: connections, connections: 10, deadline: 5m}
  - {name: withdraw, announce: false, hold: 5s}
  - {name: address, announce: false, address: false}
guard: {leave_window: 60s, allowed: [203.0.113.0/24, "2001:db8:61::/48"]}
"""


def write(folder: Path, anycast: str = ANYCAST) -> Path:
    """Write the deployment and return its folder."""
    small.write(folder)
    (folder / "bgp").mkdir(exist_ok=True)
    (folder / "bgp" / "anycast.yaml").write_text(anycast)
    return folder
