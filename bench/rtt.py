"""What preferences by round-trip time cost: classes rebuilt for so many networks. `python -m bench.rtt`."""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from gtm.app.bundle import Bundle, build, relocate
from gtm.decide.prefer import Preference, Preferences
from gtm.decide.rtt import Key
from gtm.model.policy import Order, Policy, Rule

COUNTS = (0, 1000, 20_000)
FOLDER = Path(__file__).resolve().parents[1]
BY_RTT = Policy(rules=(Rule(order=Order(nearest=True, rtt=True)),))


def by_rtt(bundle: Bundle) -> Bundle:
    """The bundle with every name's policy changed to `order: rtt`."""
    names = tuple(replace(name, policy=BY_RTT) for name in bundle.deployment.names)
    return replace(bundle, deployment=replace(bundle.deployment, names=names))


def preferences(count: int, regions: tuple[str, ...], rand: random.Random) -> Preferences:
    """Orders of four regions at random, for networks at random."""
    by_key: dict[Key, Preference] = {}
    while len(by_key) < count:
        network = IPv4Network((rand.randrange(1 << 16, 224 << 16) << 8, 24))
        order = rand.sample(regions, min(4, len(regions)))
        rtts = tuple((region, rand.uniform(0.01, 0.3)) for region in order)
        by_key[network] = Preference(rtts=rtts, since_s=0.0, samples=rand.randrange(5, 100))
    return Preferences(by_key=by_key)


def main() -> None:
    """Print a line for each number of networks."""
    rand = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        bundle = by_rtt(build(FOLDER, Path(folder)))
        for count in COUNTS:
            wanted = preferences(count, tuple(bundle.deployment.regions), rand)
            start_s = time.process_time()
            moved = relocate(bundle, wanted, Path(folder))
            cpu_s = time.process_time() - start_s
            print(f"{count:6} networks: {cpu_s:.2f} s of CPU, {len(moved.classes.loci)} classes")


if __name__ == "__main__":
    main()
