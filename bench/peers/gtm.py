"""gtm itself, as `gtm serve` runs it: a controller, and one DNS worker, which is what is measured."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Final

from bench.netns import SERVER, Arena
from bench.peers.server import LOAD_CPU, PORT, SERVER_CPU, Server, Site, output, pin
from bench.question import COUNTRIES, DEFAULT_REGION, NAME, REGIONS, TTL_S, ZONE

WORKER: Final = b"gtm.app.worker"

GTM_YAML: Final = """\
node: bench
workers: 1
api: off
geo: ["{database}"]
"""

REGIONS_YAML: Final = """\
regions:
  us-east: {latitude: 39.04, longitude: -77.49, share: 35%}
  eu-west: {latitude: 53.35, longitude: -6.26, share: 30%}
  ap-southeast: {latitude: 1.35, longitude: 103.82, share: 25%}
  us-west: {latitude: 37.34, longitude: -121.89, share: 10%}
"""

ZONE_FILE: Final = """\
$ORIGIN {zone}.
$TTL {ttl}
@    SOA ns1 hostmaster 1 3600 600 86400 30
@    NS ns1
ns1  A 198.18.0.1
"""

# No check: nothing is probed. One rule per region, as the other servers have one entry per country.
STEERING: Final = """\
pools:
  web:
{instances}
names:
  {label}:
    pool: web
    ttl: {ttl}
    steer:
{rules}
      - {{order: [{default}]}}
"""


def write_deployment(folder: Path, database: Path) -> None:
    """Write a deployment that answers the benchmark's question into an empty folder."""
    for name in ("geodata", "zones"):
        (folder / name).mkdir()
    (folder / "gtm.yaml").write_text(GTM_YAML.format(database=database))
    (folder / "geodata" / "regions.yaml").write_text(REGIONS_YAML)
    (folder / "zones" / f"{ZONE}.zone").write_text(ZONE_FILE.format(zone=ZONE, ttl=TTL_S))
    rules = (
        f"      - {{from: [{', '.join(quoted(countries))}], order: [{region}]}}"
        for region, countries in COUNTRIES.items()
    )
    (folder / "zones" / f"{ZONE}.yaml").write_text(
        STEERING.format(
            instances="\n".join(f"    {region}: [{address}]" for region, address in REGIONS.items()),
            label=NAME.removesuffix(f".{ZONE}"),
            ttl=TTL_S,
            rules="\n".join(rules),
            default=DEFAULT_REGION,
        )
    )


def quoted(countries: str) -> list[str]:
    """The country codes as YAML strings; NO among them is a word of its own in old YAML."""
    return [f'"{code}"' for code in countries.split()]


def worker_pids(pids: list[int]) -> list[int]:
    """Those of the processes that are DNS workers."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


class Gtm(Server):
    """`gtm serve` with one worker, which is on the server's core; the controller is on the load's, and idle."""

    tag = "gtm"
    title = "gtm"
    programs = (sys.executable,)
    start_limit_s = 90.0

    def __init__(self) -> None:
        super().__init__()
        self._arena: Arena | None = None

    def version(self) -> str:
        return output(sys.executable, "-c", "import gtm; print(gtm.__version__)").strip()

    def write(self, site: Site) -> None:
        self._arena = site.arena
        write_deployment(site.folder, site.database.resolve())

    def command(self, site: Site) -> list[str]:
        return [sys.executable, "-m", "gtm.cli.main", "serve", "-C", str(site.folder), "--listen", f"{SERVER}:{PORT}"]

    def cpus(self) -> str:
        return f"{LOAD_CPU},{SERVER_CPU}"

    def serving_pids(self) -> list[int]:
        return worker_pids(self._arena.pids(self._arena.server)) if self._arena is not None else []

    def settle(self) -> None:
        """Pin the worker to the server's core and all else off it."""
        super().settle()
        if self._arena is not None:
            for pid in set(self._arena.pids(self._arena.server)) - set(self.serving_pids()):
                pin(pid, int(LOAD_CPU))


class GtmForgetful(Gtm):
    """The same without its memory of earlier queries: what the first query of each kind costs.

    Not in the default list; real traffic is between the two.
    """

    tag = "gtm-forgetful"
    title = "gtm, remembering nothing"

    def command(self, site: Site) -> list[str]:
        return ["env", "GTM_REMEMBER=0", *super().command(site)]
