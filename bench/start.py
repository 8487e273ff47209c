"""From starting `gtm serve` with the default geo database to its first right answer, cold and warm.

  cold   no state folder: the database is read and the class table compiled
  warm   the state folder of the run before: the compiled table is taken from there

The clock starts before the process does. Python's own compiled files and the page cache are warm in both. The answer
asked for is geo-decided: the region of a country, by the client subnet in the query. `--deployment DIR` measures a
copy of that folder instead (its first answer to NAME then counts, whatever it is).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import json
import shutil
import tempfile
import time
from ipaddress import IPv4Address

from bench import machine
from bench.dns import default_database
from bench.netns import ArenaError
from bench.peers.gtm import write_deployment
from bench.question import NAME, REGIONS, Geo, query
from bench.served import serve
from bench.table import lay_out, spread

BUDGET_S = {"cold": 15.0, "warm": 3.0}
CLIENT = IPv4Address("81.2.69.0")  # in Britain


def one(folder: Path, packet: bytes, wanted: bytes) -> float:
    """Seconds from before the process exists to the right answer."""
    start = time.monotonic()
    with serve(folder) as served:
        return served.await_answer(packet, wanted, 120) - start


def main() -> int:
    """Run it; 1 if the server does not start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, help="an MMDB (default: the one in geodata/)")
    parser.add_argument("--deployment", type=Path, metavar="DIR", help="measure a copy of this deployment folder")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="three repeats")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    database = options.database or default_database()
    if database is None:
        print("no database: give one with --database FILE.mmdb, or build geodata/ first", file=sys.stderr)
        return 2
    taken: dict[str, list[float]] = {"cold": [], "warm": []}
    packet = query(7, NAME, ecs=(CLIENT, 24))
    wanted = IPv4Address(REGIONS[Geo(database).region(CLIENT)]).packed
    try:
        for _ in range(3 if options.quick else options.repeats):
            with tempfile.TemporaryDirectory(prefix="gtm-bench-start-") as name:
                folder = Path(name) / "deployment"
                if options.deployment is not None:
                    ignored = shutil.ignore_patterns("state", ".*")
                    shutil.copytree(options.deployment, folder, ignore=ignored)
                    wanted = b""
                else:
                    folder.mkdir()
                    write_deployment(folder, database.resolve())
                for kind, times in taken.items():
                    times.append(one(folder, packet, wanted))
                    if options.quick is False and kind == "warm":
                        times.append(one(folder, packet, wanted))
    except ArenaError as error:
        print(error, file=sys.stderr)
        return 1
    about = machine.describe()
    if options.json:
        print(json.dumps({"machine": about, "seconds": taken}, indent=1))
        return 0
    print(f"{about['cpu']}, Linux {about['kernel']}, {about['python']}; load average {about['load']}")
    rows = [
        [kind, str(len(times)), spread(times, "s"), f"{BUDGET_S[kind]:g} s", f"{max(times) / BUDGET_S[kind]:.2f}"]
        for kind, times in taken.items()
    ]
    print(lay_out(["start to first answer", "runs", "min / median / max", "budget", "worst/budget"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
