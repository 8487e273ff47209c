"""Geo answers per second of one worker on one core: gtm beside Knot mod-geoip, gdnsd and PowerDNS, in one run.

Each server in turn runs in a network namespace of its own, pinned to core 1; the load comes through a veth pair from a
second namespace, pinned to core 0. All answer the same question (www.lb.example.com A: one of four addresses, by the
client's country) from the same database. Two loads at a rate above what they can do:

  plain   kxdpgun, no EDNS, client addresses all over 176.0.0.0/4; every reply NOERROR, and before the load a checking
          pass asks from a thousand of those addresses and compares the address answered with the database
  ECS     bench/load.py (kxdpgun cannot send ECS), 65,536 client networks all over the world; EVERY reply is checked:
          NOERROR, AA, one A record, and that address is the expected region's for its query's network

and a third at half of what the server has just done with ECS, for the latency of its answers. The turns are repeated
in a shuffled order. A wrong answer ends the run.

read the table:
  k/s          thousands of answers per second: median (range) of the repeats
  per CPU-s    thousands of answers per second of CPU time of the serving process: less disturbed by other programs
  gtm/peer     ratio of the medians; above 1 gtm is faster
  p50, p99     from just before the send call to the kernel's receive stamp, at half of each server's own maximum
  other        share of the time in which other programs held the server's core although the server could have run:
               above some percent, run again on a quieter machine

needs root (namespaces, XDP) and the Debian packages knot-dnsutils iproute2 util-linux, and for the peers
knot knot-module-geoip gdnsd pdns-server pdns-backend-geoip. Namespaces and processes are removed at the end, on
Ctrl-C too.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    # Run as a file: this folder, first on the path, would hide dnspython's `dns` behind this very file.
    sys.path[0] = str(ROOT)

import argparse
import json
import os
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from bench import database, machine
from bench.netns import ArenaError, arena
from bench.peers.gdnsd import Gdnsd
from bench.peers.gtm import Gtm, GtmForgetful
from bench.peers.knot import Knot, KnotUnpinned
from bench.peers.loop import Loop
from bench.peers.powerdns import PowerDns
from bench.peers.server import Server
from bench.question import DEFAULT_REGION, REGION_OF, REGIONS, Geo, ecs_queries, plain_queries
from bench.race import Course, Turn, WrongAnswers
from bench.table import lay_out, median, thousands

SERVERS: Sequence[type[Server]] = (Gtm, Knot, Gdnsd, PowerDns, Loop)
EXTRA: Sequence[type[Server]] = (GtmForgetful, KnotUnpinned)  # only if named
TOOLS = {
    "kxdpgun": "knot-dnsutils",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "taskset": "util-linux",
}
NETWORKS = 65536  # one query per DNS message ID
Results = Mapping[str, Sequence[Turn]]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    tags, others = (",".join(server.tag for server in group) for group in (SERVERS, EXTRA))
    parser = argparse.ArgumentParser(
        prog="python bench/dns.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", metavar="LIST", default=tags, help=f"which servers, by comma (default {tags}; also {others})"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each server (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each load (default 3)")
    parser.add_argument("--rate", type=int, default=300_000, help="queries offered per second (default 300000)")
    parser.add_argument("--database", type=Path, help="an MMDB (default: the one in geodata/)")
    parser.add_argument("--seed", type=int, default=1, help="of the order and the clients (default 1)")
    parser.add_argument("--quick", action="store_true", help="one turn of one second each: under a minute, rough")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON, no table")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parsed = parser.parse_args(arguments)
    if parsed.quick:
        parsed.repeats, parsed.seconds = 1, 1.0
    return parsed


def obstacles(servers: Sequence[Server]) -> list[str]:
    """Why this cannot run here, each with what to do about it."""
    found = []
    if os.geteuid() != 0:
        found.append("network namespaces and XDP need root: run it with sudo")
    if (os.cpu_count() or 1) < 2:
        found.append("needs two cores: one for the server, one for the load")
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool, path=_path()) is None}
    for server in servers:
        if server.missing():
            missing.update(server.packages or (f"{server.tag}: {' '.join(server.missing())}",))
    if missing:
        found.append(f"missing; install with: apt-get install {' '.join(sorted(missing))}")
    return found


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def default_database() -> Path | None:
    """The database in geodata/, if there is one."""
    return next(iter(sorted((ROOT / "geodata").glob("*.mmdb"))), None)


def measure(options: argparse.Namespace, servers: Sequence[Server], path: Path) -> Results:
    """All turns of all servers."""
    results: dict[str, list[Turn]] = {server.tag: [] for server in servers}
    rng = random.Random(options.seed)

    def say(*words: str) -> None:
        if not options.quiet:
            print(": ".join(words), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as name, arena() as pair:
        folder = Path(name)
        folder.chmod(0o755)
        say(f"reading {path}")
        same = database.ready(path, folder)
        regions = [list(REGIONS).index(REGION_OF.get(code, DEFAULT_REGION)) for code in same.codes]
        (folder / "regions24").write_bytes(np.array(regions, dtype=np.uint8)[same.table].tobytes())
        geo = Geo(same.path)
        ecs_queries(geo, NETWORKS, seed=options.seed).save(folder / "ecs.npz")
        plain_queries(geo, 4096, seed=options.seed).save(folder / "plain.npz")
        course = Course(
            arena=pair,
            plain=folder / "plain.npz",
            ecs=folder / "ecs.npz",
            database=same.path,
            regions24=folder / "regions24",
            continents=same.continents,
            rate=options.rate,
            seconds=options.seconds,
            checks=250 if options.quick else 1000,
        )
        for repeat in range(options.repeats):
            for server in rng.sample(servers, len(servers)):
                head = f"[{repeat + 1}/{options.repeats}] {server.title}"
                results[server.tag].append(course.turn(server, partial(say, head)))
    return results


def table(servers: Sequence[Server], results: Results) -> str:
    """The table, in the order of the answers per second with ECS."""
    heads = ["server", "version", "plain k/s", "ECS k/s", "gtm/it plain", "gtm/it ECS"]
    heads += ["plain per CPU-s", "ECS per CPU-s", "gtm/it ECS per CPU-s", "half k/s", "p50 us", "p99 us", "other"]
    rows = []
    ours = results.get(Gtm.tag)
    for server in sorted(servers, key=lambda server: -median([turn.ecs.answers_per_s for turn in results[server.tag]])):
        turns = results[server.tag]
        rows.append(
            [
                server.title,
                server.version(),
                thousands([turn.plain.answers_per_s for turn in turns]),
                thousands([turn.ecs.answers_per_s for turn in turns]),
                _ratio(ours, turns, "plain", "answers_per_s"),
                _ratio(ours, turns, "ecs", "answers_per_s"),
                f"{median([turn.plain.answers_per_cpu_s for turn in turns]) / 1000:.1f}",
                f"{median([turn.ecs.answers_per_cpu_s for turn in turns]) / 1000:.1f}",
                _ratio(ours, turns, "ecs", "answers_per_cpu_s"),
                f"{median([float(turn.half_rate) for turn in turns]) / 1000:.1f}",
                f"{median([turn.p50_us for turn in turns]):.0f}",
                f"{median([turn.p99_us for turn in turns]):.0f}",
                f"{max(max(turn.plain.waited, turn.ecs.waited) for turn in turns):.0%}",
            ]
        )
    return lay_out(heads, rows)


def _ratio(ours: Sequence[Turn] | None, turns: Sequence[Turn], load: str, figure: str) -> str:
    if ours is None or ours is turns:
        return "-" if ours is None else "1"
    of_us, of_them = (median([getattr(getattr(turn, load), figure) for turn in some]) for some in (ours, turns))
    return f"{of_us / of_them:.2f}"


def report(options: argparse.Namespace, servers: Sequence[Server], results: Results, path: Path) -> str:
    """What is printed."""
    about = machine.describe()
    if options.json:
        return json.dumps(
            {
                "machine": about,
                "database": path.name,
                "rate": options.rate,
                "seconds": options.seconds,
                "versions": {server.tag: server.version() for server in servers},
                "turns": {tag: [asdict(turn) for turn in turns] for tag, turns in results.items()},
            },
            indent=1,
        )
    checked = sum(turn.checked for turns in results.values() for turn in turns)
    replies = sum(turn.ecs_checked for turns in results.values() for turn in turns)
    lines = [
        f"{about['cpu']}, Linux {about['kernel']}, {about['system']}, {about['python']}; load average {about['load']}",
        f"{options.repeats} turns, loads of {options.seconds:g} s at {options.rate} queries/s; database {path.name}",
        "",
        table(servers, results),
        "",
        f"All answers right: {checked} asked one by one, and all {replies} replies with ECS under load.",
    ]
    least = min(
        min(turn.plain.offered_per_s / turn.plain.answers_per_s, turn.ecs.offered_per_s / turn.ecs.answers_per_s)
        for turns in results.values()
        for turn in turns
    )
    if least < 1.1:
        lines.append("Some server answered nearly all that was offered, and might do more: give a higher --rate.")
    return "\n".join(lines)


def main() -> int:
    """Run it; 0, or 1 for a wrong answer or a server that did not run, 2 for what is missing here."""
    options = parse()
    chosen = options.peers.split(",")
    servers = [server() for server in (*SERVERS, *EXTRA) if server.tag in chosen]
    unknown = set(chosen) - {server.tag for server in servers}
    if unknown:
        print(
            f"unknown server {', '.join(unknown)}; there are {', '.join(s.tag for s in (*SERVERS, *EXTRA))}",
            file=sys.stderr,
        )
        return 2
    problems = obstacles(servers)
    path = options.database or default_database()
    if path is None or not path.exists():
        problems.append("no database: give one with --database FILE.mmdb, or build geodata/ first")
    if problems or path is None:
        print("\n".join(problems), file=sys.stderr)
        return 2
    os.environ["PATH"] = _path()
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        with machine.first():
            results = measure(options, servers, path)
    except (ArenaError, WrongAnswers) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(report(options, servers, results, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
