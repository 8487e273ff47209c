"""A small deployment that balances: two regions, three instances, one of them the node itself."""

from __future__ import annotations

from pathlib import Path

from tests.cli import small

DATAPLANE = """\
secret_file: keys/balance
services:
  web:
    vips: [203.0.113.1, "2001:db8:61::1"]
    ports: [tcp/80, udp/443]
    check: web
    wrap: gue
    second_chance: true
    backends:
      a1: {address: 10.1.0.11, region: us-east}
      a2: {address: 10.1.0.12, region: us-east, weight: 3, wrap: l2}
      b1: {address: 10.2.0.11, region: eu-west}
  mail: {vips: 203.0.113.2, ports: tcp/25, backends: {m1: {address: 10.1.0.21, region: us-east, wrap: l2}}}
instances:
  small: {region: us-east, interface: eth0, gateways: {rack: 10.1.0.1}, address: 10.1.0.2, sync: true}
  small2: {region: us-east, interface: eth0, gateways: {rack: 10.1.0.1}, address: 10.1.0.3, mtu: 1600, sync: true}
  edge-eu: {region: eu-west, interface: eth0, gateways: {rack: 10.2.0.1}, address: 10.2.0.2}
"""
SECRET = "0123456789abcdef0123456789abcdef\n"


def write(folder: Path, dataplane: str = DATAPLANE) -> Path:
    """Write the deployment and return its folder."""
    small.write(folder)
    for name, text in (("dataplane/services.yaml", dataplane), ("keys/balance", SECRET)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder
