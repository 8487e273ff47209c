"""gdnsd with its geoip plugin: gdnsd.config(5), gdnsd-plugin-geoip(8)."""

from __future__ import annotations

from typing import Final

from bench.netns import SERVER
from bench.peers.server import PORT, Server, Site, output
from bench.question import DEFAULT_REGION, REGION_OF, REGIONS, TTL_S, ZONE

# One listening address with one UDP thread; the one TCP thread is idle. No service is monitored ("up").
CONFIG: Final = """\
options => {{
  listen => {{ {server} => {{ udp_threads = 1, tcp_threads = 1 }} }}
  dns_port = {port}
  run_dir = {folder}/run
  state_dir = {folder}/state
  edns_client_subnet = true
}}
plugins => {{
  geoip => {{
    maps => {{
      bench => {{
        geoip2_db => {database}
        datacenters => [{regions}]
        map => {{
          default => [{default}]
{continents}
        }}
      }}
    }}
    resources => {{
      www => {{
        map => bench
        service_types => up
        dcmap => {{ {addresses} }}
      }}
    }}
  }}
}}
"""

ZONE_FILE: Final = """\
@    SOA ns1 hostmaster 1 3600 600 86400 30
@    NS ns1
ns1  A 198.18.0.1
www  {ttl} DYNA geoip!www
"""


class Gdnsd(Server):
    """`gdnsd start`, one UDP thread."""

    tag = "gdnsd"
    title = "gdnsd geoip"
    packages = ("gdnsd",)
    programs = ("gdnsd",)

    def version(self) -> str:
        return output("gdnsd", "-V").split("version")[1].split()[0]

    def write(self, site: Site) -> None:
        (site.folder / "zones").mkdir()
        (site.folder / "zones" / ZONE).write_text(ZONE_FILE.format(ttl=TTL_S))
        by_continent: dict[str, list[str]] = {}
        for country, region in REGION_OF.items():
            if country in site.continents:
                by_continent.setdefault(site.continents[country], []).append(f"{country} => [{region}]")
        continents = "\n".join(
            f"          {continent} => {{ default => [{DEFAULT_REGION}], {', '.join(entries)} }}"
            for continent, entries in by_continent.items()
        )
        (site.folder / "config").write_text(
            CONFIG.format(
                server=SERVER,
                port=PORT,
                folder=site.folder,
                database=site.database,
                regions=", ".join(REGIONS),
                default=DEFAULT_REGION,
                continents=continents,
                addresses=", ".join(f"{region} => {address}" for region, address in REGIONS.items()),
            )
        )

    def command(self, site: Site) -> list[str]:
        return ["gdnsd", "-c", str(site.folder), "start"]
