"""Nanoseconds per query of answering alone: no sockets, no processes, one core; by kind of query.

The table is compiled from the deployment that bench/dns.py serves, with some static names beside the steered one. The
queries of a kind are 4,096 different ones (clients and client subnets all over the address space), asked in turn, as a
worker would: the fast path first, the full path for what it leaves; once with a fast path that has not seen them, and
once with one that remembers them. Best and median of the repeats; every answer is looked at once before (its RCODE, and
that it has an answer section where it should).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import cProfile
import json
import pstats
import random
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from bench import machine
from bench.dns import default_database
from bench.peers.gtm import write_deployment
from bench.question import NAME, SOURCES, ZONE, query
from bench.table import lay_out, median
from gtm.answer.compile import compile_sets
from gtm.answer.fast import Fast, responder
from gtm.answer.pick import seed_at
from gtm.answer.respond import respond
from gtm.answer.table import AnswerTable
from gtm.app.bundle import build
from gtm.decide.plan import decide
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.tables import names_of

QUERIES = 4096
STATIC = """
static 300 A 192.0.2.80
alias  300 CNAME static
*.wild 300 A 192.0.2.90
"""
Asked = tuple[bytes, bytes]  # query, source address


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Queries of one kind, and what their answers must be like."""

    asked: Sequence[Asked]
    rcode: int = 0
    answers: int = 1


def table_of(folder: Path) -> AnswerTable:
    """The answer table of a deployment folder, nothing yet judged."""
    bundle = build(folder, folder / "cache")
    snapshot = Snapshot(revision=1, now_s=0.0, deployment=bundle.deployment, judgements={})
    return AnswerTable(
        revision=1,
        key=1,
        authority=bundle.authority,
        names=names_of(bundle.layout.index),
        sets=compile_sets(decide(snapshot).plan, bundle.layout),
        classes=bundle.classes,
        identity=bundle.deployment.node.identity,
        static={},
    )


def edns(packet: bytes, options: bytes = b"") -> bytes:
    """The query with an OPT record: version 0, 1232 octets, these options."""
    return packet[:11] + b"\x01" + packet[12:] + b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(options)) + options


def kinds(rng: random.Random) -> Mapping[str, Kind]:
    """The queries of every kind."""
    sources = [(SOURCES[0] + rng.randrange(SOURCES.num_addresses)).packed for _ in range(QUERIES)]
    nets4 = [IPv4Address((rng.randrange(0x010000, 0xDF0000)) << 8) for _ in range(QUERIES)]
    nets4 = [net if net.is_global else IPv4Address("81.2.69.0") for net in nets4]
    nets6 = [
        struct.pack(">HH", 0x2600 + rng.randrange(0x400), rng.randrange(1 << 16)) + bytes(3) for _ in range(QUERIES)
    ]
    steered = [query(number & 0xFFFF, NAME) for number in range(QUERIES)]

    def asked(packets: Sequence[bytes]) -> Sequence[Asked]:
        return list(zip(packets, sources, strict=True))

    def named(label: str, **other: int) -> Kind:
        return Kind(asked=asked([query(number & 0xFFFF, f"{label}.{ZONE}") for number in range(QUERIES)]), **other)

    nowhere = [query(number & 0xFFFF, f"x{number}.{ZONE}") for number in range(QUERIES)]
    wild = [query(number & 0xFFFF, f"x{number}.wild.{ZONE}") for number in range(QUERIES)]
    unknown_option = struct.pack(">HH", 65001, 4) + b"test"
    return {
        "steered, plain": Kind(asked=asked(steered)),
        "steered, EDNS": Kind(asked=asked([edns(packet) for packet in steered])),
        "steered, ECS IPv4 /24": Kind(
            asked=asked([query(number & 0xFFFF, NAME, ecs=(net, 24)) for number, net in enumerate(nets4)])
        ),
        "steered, ECS IPv6 /56": Kind(
            asked=asked(
                [
                    edns(packet, struct.pack(">HHHBB", 8, 11, 2, 56, 0) + net)
                    for packet, net in zip(steered, nets6, strict=True)
                ]
            )
        ),
        "steered, full path (unknown option)": Kind(asked=asked([edns(packet, unknown_option) for packet in steered])),
        "static, A": named("static"),
        "static, CNAME and A": named("alias", answers=2),
        "static, wildcard, all different": Kind(asked=asked(wild)),
        "NXDOMAIN, one name": named("nowhere", rcode=3, answers=0),
        "NXDOMAIN, all different": Kind(asked=asked(nowhere), rcode=3, answers=0),
        "REFUSED": Kind(asked=asked([query(1, "www.example.org")] * QUERIES), rcode=5, answers=0),
    }


def check(name: str, kind: Kind, table: AnswerTable, fast: Fast, seed: int) -> float:
    """The share that the fast path took. Raises SystemExit for an answer that is not as it must be.

    Asks everything twice, so that what the table learns by the first time is there for the second.
    """
    taken = 0
    for _ in range(2):
        taken = 0
        for packet, source in kind.asked:
            reply = fast(packet, source)
            taken += reply is not None
            if reply is None:
                reply = respond(table, packet, source, seed)
            if reply is None or reply[3] & 15 != kind.rcode or reply[7] != kind.answers:
                raise SystemExit(f"{name}: wrong answer {reply.hex() if reply else reply} to {packet.hex()}")
    return taken / len(kind.asked)


def turn(asked: Sequence[Asked], table: AnswerTable, fast: Fast, seed: int) -> float:
    """Nanoseconds per query of one pass over the queries."""
    start_ns = time.perf_counter_ns()
    for packet, source in asked:
        if fast(packet, source) is None:
            respond(table, packet, source, seed)
    return (time.perf_counter_ns() - start_ns) / len(asked)


def empty_turn(asked: Sequence[Asked]) -> float:
    """Nanoseconds per query of the same loop around a function that does nothing: what the harness itself costs."""

    def nothing(packet: bytes, source: bytes) -> bytes | None:  # noqa: ARG001 - the same call
        return packet

    start_ns = time.perf_counter_ns()
    for packet, source in asked:
        if nothing(packet, source) is None:
            raise SystemExit("cannot be")
    return (time.perf_counter_ns() - start_ns) / len(asked)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, help="an MMDB (default: the one in geodata/)")
    parser.add_argument("--repeats", type=int, default=25, help="passes over each kind's 4,096 queries (default 25)")
    parser.add_argument("--quick", action="store_true", help="five passes")
    parser.add_argument("--only", metavar="TEXT", default="", help="only kinds whose name contains this")
    parser.add_argument("--profile", action="store_true", help="then show where the time goes (cProfile), per kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    database = options.database or default_database()
    if database is None:
        print("no database: give one with --database FILE.mmdb, or build geodata/ first", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gtm-bench-respond-") as temporary:
        folder = Path(temporary)
        write_deployment(folder, database.resolve())
        with (folder / "zones" / f"{ZONE}.zone").open("a") as zone:
            zone.write(STATIC)
        table = table_of(folder)
        seed = seed_at(table.key, 0.0)
        fast = responder(table, seed)
        wanted = {name: kind for name, kind in kinds(random.Random(1)).items() if options.only in name}
        shares = {name: check(name, kind, table, fast, seed) for name, kind in wanted.items()}
        times: dict[str, list[float]] = {name: [] for name in wanted}
        first: dict[str, list[float]] = {name: [] for name in wanted}
        empty: list[float] = []
        for _ in range(5 if options.quick else options.repeats):
            for name, kind in wanted.items():  # interleaved, so that a slow moment does not fall on one kind
                times[name].append(turn(kind.asked, table, fast, seed))
                first[name].append(turn(kind.asked, table, responder(table, seed), seed))
                empty.append(empty_turn(kind.asked))
        about = machine.describe()
        if options.json:
            print(
                json.dumps(
                    {"machine": about, "harness_ns": empty, "fast": shares, "ns": times, "first_ns": first}, indent=1
                )
            )
        else:
            print(
                f"{about['cpu']}, {about['python']}; load average {about['load']}; the loop itself: {min(empty):.0f} ns"
            )
            rows = [
                [
                    name,
                    *(f"{pick(some):.0f}" for some in (first[name], found) for pick in (min, median)),
                    f"{shares[name]:.0%}",
                ]
                for name, found in times.items()
            ]
            print(
                lay_out(
                    [
                        "ns per query, with the loop",
                        "new: best",
                        "median",
                        "asked before: best",
                        "median",
                        "by fast path",
                    ],
                    rows,
                )
            )
        if options.profile:
            for name, kind in wanted.items():
                profile = cProfile.Profile()
                profile.runcall(turn, kind.asked, table, fast, seed)
                print(f"\n{name}")
                pstats.Stats(profile).sort_stats("tottime").print_stats(12)
    return 0


if __name__ == "__main__":
    sys.exit(main())
