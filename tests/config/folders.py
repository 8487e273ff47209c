"""A small good deployment to change, and golden cases: files that are wrong, and all that is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.config.deployment import load
from gtm.model.errors import ConfigErrors

GOLDEN = Path(__file__).parent / "golden"
SAID = "gtm check"
ABSENT = "(absent)"

NODE = """\
node: ns1
region: us-east
listen: [127.0.0.1:5300]
"""
REGIONS = """\
regions:
  us-east: {latitude: 39.04, longitude: -77.49, share: 60%}
  eu-west: {latitude: 53.35, longitude: -6.26, share: 40%}
"""
CHECKS = """\
checks:
  web:
    http: {port: 8080, path: /healthz}
  mail:
    tcp: {port: 25}
"""
LOAD = """\
interval: 10s
reports: true
sources:
  - prometheus: http://127.0.0.1:9090
    queries:
      - {metric: requests, query: "sum by (instance)(rate(x[1m]))", label: instance}
      - {metric: utilisation, query: "busy", label: us-east}
  - file: load.json
"""
RTT = """\
targets:
  - 192.0.2.53
  - {address: "2001:db8::53", kind: dns}
interval: 30s
files:
  - measured.csv
  - {path: atlas.json, format: atlas, regions: {192.0.2.1: us-east, "2001:db8::1": eu-west}}
band: {share: 10%, least: 5ms}
"""
ANYCAST = """\
asn: 64500
session: {ttl_security: 1, bfd: true}
speakers:
  edge1:
    region: us-east
    address: [198.51.100.2, "2001:db8:100::2"]
    neighbours:
      transit-a: 198.51.100.1
      ix: {address: "2001:db8:200::1", local_address: "2001:db8:200::2", asn: 64497, families: ipv6, bfd: false}
providers:
  transit-a:
    asn: 64496
    words:
      europe: {communities: ["64496:2:1", no-peer], note: customers in Europe}
      quiet: 64496:3000
services:
  web:
    prefixes: [203.0.113.0/24, "2001:db8:61::/48"]
    local: mail
    up: {words: europe}
    providers: {transit-a: {prepend: 1, words: [quiet]}}
    addresses: 203.0.113.1
guard: {allowed: [203.0.113.0/24, "2001:db8:61::/48..64"], damping: false}
"""
DATAPLANE = """\
secret_file: keys/balance
services:
  web:
    vips: [203.0.113.1, "2001:db8:61::1"]
    ports: [tcp/80, tcp/443, {port: udp/443, affinity: track, quic: {0: 2}}]
    check: mail
    through: vip
    wrap: gue
    second_chance: true
    backends:
      a1: {address: 10.1.0.11, server_id: "0a01"}
      a2: {address: 10.1.0.12, server_id: "0a02", weight: 2, wrap: l2, mac: "02:00:00:00:00:12"}
      b1: {address: "2001:db8:2::11", server_id: "0b01", region: eu-west, wrap: ipip, gateway: two}
    drain: 2m
instances:
  lb1: {region: us-east, interface: eth0, gateways: {one: 10.1.0.1}, address: 10.1.0.2, sync: true}
  lb2:
    region: eu-west
    interface: eth0
    mode: generic
    gateways: {one: 10.2.0.1, two: {address: "fe80::1", mac: "02:00:00:00:00:01"}}
    address: 10.2.0.2
    source: [172.31.0.0/16, "fd00:31::/112"]
    mtu: 1600
    sync: {listen: "10.2.0.2:7000", flush: 20ms}
    ready_file: state/ready
protection:
  allow: 192.0.2.0/24
  deny: [198.51.100.7, "2001:db8:bad::/48"]
  rules: {martian: on, source-rate: dry-run}
  source_rate: {packets: 20000, burst: 40000, prefix4: 32}
  vip_rates: {web: {packets: 1000000}}
"""
STEERING = """\
pools:
  web:
    check: web
    us-east: [192.0.2.11, 192.0.2.12]
    eu-west: [192.0.2.21]
names:
  www:
    pool: web
    steer:
      - {from: BR, order: [us-east, nearest]}
      - {order: nearest}
expect:
  - {ask: www A, from: BR, region: us-east}
"""
ZONE = """\
@ 3600 IN SOA ns1 hostmaster 1 7200 900 1209600 300
@ 3600 IN NS ns1
ns1 3600 IN A 192.0.2.53
"""
GOOD: Mapping[str, str] = {
    "gtm.yaml": NODE,
    "geodata/regions.yaml": REGIONS,
    "probes/checks.yaml": CHECKS,
    "probes/load.yaml": LOAD,
    "probes/rtt.yaml": RTT,
    "bgp/anycast.yaml": ANYCAST,
    "dataplane/services.yaml": DATAPLANE,
    "zones/lb.example.com.zone": ZONE,
    "zones/lb.example.com.yaml": STEERING,
}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """The folder, with the files in it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def said(folder: Path) -> str:
    """What loading the folder says, one fault a line, paths relative to the folder; "ok" if nothing."""
    try:
        load(folder)
    except ConfigErrors as errors:
        return "".join(f"{error}\n" for error in errors.errors).replace(f"{folder}/", "").replace(str(folder), "DIR")
    return "ok\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A golden file: what it shows, the files that differ from the good deployment, and what must be said."""

    about: str
    files: Mapping[str, str]
    expected: str

    def deploy(self, folder: Path) -> Path:
        """The folder, with the good deployment and this case's files in it."""
        files = {**GOOD, **self.files}
        return write(folder, {name: text for name, text in files.items() if text.strip() != ABSENT})

    def render(self, outcome: str) -> str:
        """The golden file's text with an outcome."""
        sections = "".join(f"=== {name}\n{text}" for name, text in self.files.items())
        return f"{self.about}{sections}=== {SAID}\n{outcome}"


def read_case(path: Path) -> Case:
    """The case in a golden file."""
    about, *sections = path.read_text(encoding="utf-8").split("=== ")
    files = dict(section.split("\n", 1) for section in sections)
    return Case(about=about, expected=files.pop(SAID, ""), files=files)
