"""Knot DNS with mod-geoip: https://www.knot-dns.cz/docs/3.2/html/modules.html#geoip-geography-based-responses"""

from __future__ import annotations

from typing import Final

from bench.netns import SERVER
from bench.peers.server import PORT, Server, Site, output
from bench.question import DEFAULT_REGION, NAME, REGION_OF, REGIONS, TTL_S, ZONE

# One UDP worker, which is one thread; the TCP and background workers are idle. ECS on; no rate limit, no statistics.
CONF: Final = """\
server:
    listen: {server}@{port}
    rundir: {folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: {folder}
log:
  - target: stderr
    any: warning
mod-geoip:
  - id: geo
    config-file: {folder}/geo.conf
    ttl: {ttl}
    mode: geodb
    geodb-file: {database}
    geodb-key: [ country/iso_code ]
zone:
  - domain: {zone}
    storage: {folder}
    file: zone
    module: mod-geoip/geo
    zonefile-sync: -1
    journal-content: none
"""

ZONE_FILE: Final = """\
$ORIGIN {zone}.
$TTL {ttl}
@    SOA ns1 hostmaster 1 3600 600 86400 30
@    NS ns1
ns1  A 198.18.0.1
www  A {default}
"""


class Knot(Server):
    """`knotd`, one UDP worker.

    Every country of the database has an entry, the default region's too: where none matches, the zone's own record
    would answer, with ECS scope 0.
    """

    tag = "knot"
    title = "Knot mod-geoip"
    packages = ("knot", "knot-module-geoip")
    programs = ("knotd",)

    def version(self) -> str:
        return output("knotd", "--version").split("version")[-1].strip()

    def write(self, site: Site) -> None:
        folder = site.folder
        (folder / "knot.conf").write_text(
            CONF.format(server=SERVER, port=PORT, folder=folder, ttl=TTL_S, database=site.database, zone=ZONE)
        )
        (folder / "zone").write_text(ZONE_FILE.format(zone=ZONE, ttl=TTL_S, default=REGIONS[DEFAULT_REGION]))
        entries = "".join(
            f'  - geo: "{country}"\n    A: {REGIONS[REGION_OF.get(country, DEFAULT_REGION)]}\n'
            for country in sorted({*site.continents, *REGION_OF})
        )
        (folder / "geo.conf").write_text(f"{NAME}:\n{entries}")

    def command(self, site: Site) -> list[str]:
        return ["knotd", "-c", str(site.folder / "knot.conf")]


class KnotUnpinned(Knot):
    """The same left to itself: its one UDP worker takes core 0, where the load runs, and both get half of it.

    Not in the default list; it shows what a comparison by `taskset` alone would have measured.
    """

    tag = "knot-unpinned"
    title = "Knot on the load's core"

    def settle(self) -> None:
        """Leave its threads where they are."""
