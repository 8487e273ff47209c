"""What deciding on announcements costs: a step in microseconds, and RPKI with half a million VRPs."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import gc
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from bench.machine import describe
from bench.table import lay_out, median
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.routes import routes
from gtm.decide.announce.rpki import Vrps
from gtm.decide.announce.sight import OtherSpeaker, Permit, Sight
from gtm.decide.announce.step import step
from gtm.model.address import IPNetwork
from gtm.model.anycast import LADDER_DEFAULT, Anycast, Neighbour, Phase, Service, Speaker, Treatment
from gtm.model.check import Check, Target, TcpProbe
from gtm.model.health import Health, Judgement
from gtm.model.override import Action, Override, Subject

V4_SHARE = 0.8  # of the VRPs that validators list
ROUNDS = 5


def rows(count: int) -> list[tuple[str, int, int]]:
    """VRPs as an export has them, with lengths as they usually are; the same ones each time."""
    rand = random.Random(1)
    found = []
    for _ in range(count):
        if rand.random() < V4_SHARE:
            length = rand.choice((16, 19, 20, 21, 22, 22, 23, 24, 24, 24, 24))
            base = rand.randrange(1 << 24, 224 << 24) >> (32 - length) << (32 - length)
            found.append((f"{IPv4Address(base)}/{length}", rand.choice((length, 24)), rand.randrange(1, 400_000)))
        else:
            length = rand.choice((29, 32, 32, 36, 40, 44, 48, 48, 48))
            base = ((0x2000 << 112) + rand.getrandbits(125)) >> (128 - length) << (128 - length)
            text = str(IPv6Network((base, length)))
            found.append((text, rand.choice((length, max(length, 48))), rand.randrange(1, 400_000)))
    return found


def per_call_us(run: Callable[[], object], seconds: float) -> float:
    """Microseconds of one call: the median of a few rounds."""
    count = 1
    while True:
        began = time.perf_counter()
        for _ in range(count):
            run()
        if (took := time.perf_counter() - began) >= seconds / ROUNDS / 2:
            break
        count *= 2
    found = [took / count]
    for _ in range(ROUNDS - 1):
        began = time.perf_counter()
        for _ in range(count):
            run()
        found.append((time.perf_counter() - began) / count)
    return median(found) * 1e6


def steps_us(seconds: float) -> dict[str, float]:
    """A step where nothing changes, one that changes the phase, one on the ladder; and the routes of a wish."""
    target = Target(check="web", address=ip_address("192.0.2.1"))
    check = Check(name="web", probe=TcpProbe(port=80))
    neighbours = tuple(
        Neighbour(
            name=f"n{index}",
            address=ip_address(f"198.51.100.{2 * index + 1}"),
            local_address=ip_address(f"198.51.100.{2 * index}"),
            asn=64500,
            local_asn=64512,
            next_hops={},
        )
        for index in range(4)
    )
    speaker = Speaker(node="a1", region="a", asn=64512, router_id=IPv4Address("198.51.100.1"), neighbours=neighbours)
    service = Service(
        name="web",
        prefixes=(ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48")),
        regions=("a", "b", "c", "d"),
        local={target: check},
        treatments={Phase.DOWN: Treatment(med=1000, prepend=3)},
        providers={},
    )
    of = Anycast(speakers={}, services={"web": service}, providers={}, ladder=LADDER_DEFAULT)
    others = tuple(OtherSpeaker(node=f"{region}1", region=region, fresh=True, announcing=True) for region in "bcd")
    good = Judgement(health=Health.UP, history=1 << 10)
    bad = Judgement(health=Health.DOWN, failures=3)
    sight = Sight(now_s=1.0, local={target: good}, others=others, store=True, controller_age_s=1.0)
    up, wish = step(of, speaker, service, Memory.initial(), sight)
    falls = replace(sight, local={target: bad}, permit=Permit.HELD)
    drain = Override(
        subject=Subject(kind="region", name="a"), action=Action.DRAIN, owner="ann", reason="disks", since_s=0.0
    )
    drained = replace(sight, drain=drain, connections=50)
    on_ladder, _ = step(of, speaker, service, up, drained)
    return {
        "step, nothing changes": per_call_us(lambda: step(of, speaker, service, up, sight), seconds),
        "step, UP to FALLING to DOWN": per_call_us(lambda: step(of, speaker, service, up, falls), seconds),
        "step, on the ladder": per_call_us(lambda: step(of, speaker, service, on_ladder, drained), seconds),
        "routes, 4 neighbours, 2 prefixes": per_call_us(lambda: routes(of, speaker, service, wish), seconds),
    }


def rpki(count: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Seconds to load the VRPs, and microseconds to validate routes that are listed and ones that are not."""
    listed = rows(count)
    gc.collect()
    began = time.perf_counter()
    vrps = Vrps(listed)
    load_s = time.perf_counter() - began
    rand = random.Random(2)
    known: list[tuple[IPNetwork, int]] = [(ip_network(text), asn) for text, _, asn in rand.sample(listed, 1000)]
    unknown: list[tuple[IPNetwork, int]] = [
        (IPv4Network((rand.randrange(224 << 24, 1 << 32) >> 8 << 8, 24)), 1) for _ in range(1000)
    ]

    def ask(routes_: list[tuple[IPNetwork, int]]) -> float:
        return per_call_us(lambda: [vrps.validate(prefix, asn) for prefix, asn in routes_], seconds) / len(routes_)

    return load_s, {"validate, covered": ask(known), "validate, not found": ask(unknown)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vrps", type=int, default=500_000, help="how many VRPs (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the figures alone")
    args = parser.parse_args()
    seconds = 0.5 if args.quick else 5.0
    figures = steps_us(seconds)
    load_s, validating = rpki(args.vrps, seconds)
    figures |= validating
    if args.json:
        print(json.dumps({"machine": describe(), "us": figures, "vrps": args.vrps, "load_s": load_s}))
        return
    print(*(f"{key}: {value}" for key, value in describe().items()), sep="\n", end="\n\n")
    table = [(name, f"{value:.1f} us") for name, value in figures.items()]
    print(lay_out(("what", "cost"), [*table, (f"load of {args.vrps:,} VRPs", f"{load_s:.2f} s")]))


if __name__ == "__main__":
    main()
