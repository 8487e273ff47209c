"""PowerDNS Authoritative with the geoip back end: https://doc.powerdns.com/authoritative/backends/geoip.html"""

from __future__ import annotations

from typing import Final

from bench.netns import SERVER
from bench.peers.server import PORT, Server, Site, output
from bench.question import DEFAULT_REGION, NAME, REGION_OF, REGIONS, TTL_S, ZONE

# One receiver and one distributor thread (which are then the same thread's work). Packet, query and zone caches keep
# their defaults, which are on; the server itself does not cache answers that depend on the client.
CONF: Final = """\
launch=geoip
local-address={server}
local-port={port}
socket-dir={folder}
geoip-database-files=mmdb:{database}
geoip-zones-file={folder}/zones.yaml
edns-subnet-processing=yes
receiver-threads=1
distributor-threads=1
guardian=no
daemon=no
disable-syslog=yes
loglevel=3
security-poll-suffix=
version-string=anonymous
"""

ZONES: Final = """\
domains:
- domain: {zone}
  ttl: {ttl}
  records:
    {zone}:
      - soa: ns1.{zone} hostmaster.{zone} 1 3600 600 86400 30
      - ns: ns1.{zone}
    ns1.{zone}:
      - a: 198.18.0.1
{regions}
  services:
    {name}: ['%mp.www-by-region.{zone}', '{default}.www-by-region.{zone}']
mapping_lookup_formats: ['%cc']
custom_mapping:
{countries}
"""


class PowerDns(Server):
    """`pdns_server`, one receiver and one distributor thread."""

    tag = "powerdns"
    title = "PowerDNS geoip"
    packages = ("pdns-server", "pdns-backend-geoip")
    programs = ("pdns_server",)

    def version(self) -> str:
        return output("pdns_server", "--version").split("Server")[1].split()[0]

    def write(self, site: Site) -> None:
        regions = "\n".join(
            f"    {region}.www-by-region.{ZONE}:\n      - a: {address}" for region, address in REGIONS.items()
        )
        countries = "\n".join(f"  '{country.lower()}': {region}" for country, region in sorted(REGION_OF.items()))
        (site.folder / "pdns.conf").write_text(
            CONF.format(server=SERVER, port=PORT, folder=site.folder, database=site.database)
        )
        (site.folder / "zones.yaml").write_text(
            ZONES.format(zone=ZONE, ttl=TTL_S, name=NAME, regions=regions, default=DEFAULT_REGION, countries=countries)
        )

    def command(self, site: Site) -> list[str]:
        return ["pdns_server", f"--config-dir={site.folder}"]
