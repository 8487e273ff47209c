"""20,000 small static zones: `gtm serve` on nothing but zones/*.zone, to the first answer, and its memory.

Each zone has eight records. The answer asked for is in the last zone by name. Memory is that of the controller and of
each worker once it answers: resident, of that anonymous (the process's own), and proportional (shared pages divided).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import json
import tempfile
import time
from ipaddress import IPv4Address

from bench import machine
from bench.netns import ArenaError
from bench.served import plain, serve
from bench.table import lay_out, spread

ZONE_FILE = """\
$ORIGIN {zone}.
$TTL 3600
@    SOA ns1 hostmaster 1 7200 900 1209600 300
@    NS ns1
@    NS ns2.example.net.
@    MX 10 mail
@    TXT "zone {number}"
ns1  A 192.0.2.53
www  A {address}
mail A 192.0.2.25
"""
FIRST = IPv4Address("10.0.0.0")
MIB = 1 << 20


def zone_name(number: int) -> str:
    """The name of a zone."""
    return f"z{number:06d}.example"


def write(folder: Path, count: int) -> None:
    """Write the zones."""
    (folder / "zones").mkdir(parents=True)
    for number in range(count):
        zone = zone_name(number)
        text = ZONE_FILE.format(zone=zone, number=number, address=FIRST + number)
        (folder / "zones" / f"{zone}.zone").write_text(text)


def main() -> int:
    """Run it; 1 if the server does not start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taken: dict[str, list[float]] = {"cold": [], "warm": []}
    memory: dict[str, dict[str, int]] = {}
    try:
        for _ in range(1 if options.quick else options.repeats):
            with tempfile.TemporaryDirectory(prefix="gtm-bench-zones-") as name:
                folder = Path(name) / "deployment"
                write(folder, options.zones)
                for times in taken.values():
                    start_s = time.monotonic()
                    with serve(folder) as served:
                        packet = plain(f"www.{zone_name(options.zones - 1)}")
                        wanted = (FIRST + options.zones - 1).packed
                        times.append(served.await_answer(packet, wanted, 300) - start_s)
                        pids = {"controller": served.process.pid}
                        pids.update((f"worker {slot}", pid) for slot, pid in enumerate(served.workers()))
                        memory = {role: machine.rss_bytes(pid) for role, pid in pids.items()}
    except ArenaError as error:
        print(error, file=sys.stderr)
        return 1
    about = machine.describe()
    if options.json:
        print(json.dumps({"machine": about, "zones": options.zones, "seconds": taken, "bytes": memory}, indent=1))
        return 0
    print(f"{about['cpu']}, Linux {about['kernel']}, {about['python']}; load average {about['load']}\n")
    rows = [[kind, str(len(times)), spread(times, "s")] for kind, times in taken.items()]
    print(lay_out([f"{options.zones} zones to first answer", "runs", "min / median / max"], rows))
    print()
    kinds = ("rss", "anon", "pss")
    rows = [[role, *(f"{use[kind] / MIB:.0f}" for kind in kinds)] for role, use in memory.items()]
    print(lay_out(["memory, MiB", "resident", "anonymous", "proportional"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
