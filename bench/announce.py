"""From a fault of a PoP until the kernel of its router sends elsewhere, with FRR and BIRD as the router.

Two PoPs announce to one router: ExaBGP 5 with `gtm announce`, BFD beside it as `gtm announce render --bfd` has it. What
befalls the preferred one is timed until the kernel's own message (rtnetlink) that the route goes to the other one. Each
router has its network namespaces, made for the run and removed; this needs root, FRR, BIRD 2, nftables and etcd.
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
from dataclasses import asdict

from tests.lab.reroute import FAULTS, Row, laboratory, measure, table

KINDS = ("BIRD", "FRR")
REPEATS, QUICK = 20, 1


def main() -> int:
    """Measure and print; 1 if a median is past its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of each fault (default {REPEATS})")
    parser.add_argument("--quick", action="store_true", help="one of each: some two minutes")
    parser.add_argument("--router", choices=KINDS, help="one of them only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    repeats = QUICK if options.quick else options.repeats
    rows: list[Row] = []
    for kind in KINDS if options.router is None else (options.router,):
        with tempfile.TemporaryDirectory() as folder, laboratory(kind, Path(folder)) as lab:
            for fault in FAULTS:
                rows.append(measure(lab, fault, repeats))
                if not options.json:
                    print(table(rows[-1:]).splitlines()[-1], flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(f"\n{table(rows)}")
    return int(any(row.is_late for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
