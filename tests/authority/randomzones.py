"""Zones full of hard cases, made from a seed: few labels, so that names, wildcards, cuts and aliases meet often."""

from __future__ import annotations

import random
from pathlib import Path

LABELS = ("a", "b", "*", "c", "a", "b", "d")
ORIGINS = ("r{i}.test.", "a.r{i}.test.", "b.a.r{i}.test.")


def write(folder: Path, seed: int, families: int) -> None:
    """Zone files of `families` parents, each with up to two nested zones, into an empty folder."""
    rng = random.Random(seed)
    origins = [
        origin.format(i=i) for i in range(families) for origin in ORIGINS if rng.random() < 0.75 or origin[0] == "r"
    ]
    for origin in origins:
        (folder / f"{origin}zone").write_text(_zone(rng, origin, origins))


def _name(rng: random.Random, origin: str) -> str:
    return ".".join(rng.choice(LABELS) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))) + "." + origin


def _target(rng: random.Random, origin: str, origins: list[str]) -> str:
    where = origin if rng.random() < 0.7 else rng.choice(origins)
    made = _name(rng, where).replace("*", rng.choice("abcd"))
    return made if rng.random() < 0.93 else "out.invalid."


def _zone(rng: random.Random, origin: str, origins: list[str]) -> str:
    ns = f"{origin} 3600 IN NS ns.{origin}"
    lines = [
        f"{origin} {rng.choice((60, 600, 3600))} IN SOA ns.{origin} h.{origin} 1 2 3 4 {rng.choice((60, 300, 900))}"
    ]
    lines += [ns, f"ns.{origin} 3600 IN A 192.0.2.{rng.randrange(1, 255)}"]
    names = {_name(rng, origin) for _ in range(rng.randrange(5, 14))}
    renamed: list[str] = []
    for owner in sorted(names):
        if any(owner.endswith("." + above) for above in renamed):
            continue  # Knot refuses names below a DNAME
        kind = rng.random()
        ttl = rng.choice((5, 300, 3600))
        target = _target(rng, origin, origins)
        if kind < 0.22:
            lines.append(f"{owner} {ttl} IN CNAME {target}")
        elif kind < 0.29 and "*" not in owner and not any(o.endswith("." + owner) for o in names):
            lines.append(f"{owner} {ttl} IN DNAME {target}")
            renamed.append(owner)
        elif kind < 0.45 and "*" not in owner:
            lines += _cut(rng, owner, target, ttl)
        else:
            lines += _data(rng, owner, target, ttl)
    return "\n".join(lines) + "\n"


def _cut(rng: random.Random, owner: str, target: str, ttl: int) -> list[str]:
    lines = [f"{owner} {ttl} IN NS {target}"]
    if rng.random() < 0.6:
        lines += [f"{owner} {ttl} IN NS ns.{owner}", f"ns.{owner} {ttl} IN A 192.0.2.{rng.randrange(1, 255)}"]
    if rng.random() < 0.4:
        lines.append(f"{owner} {ttl} IN DS {rng.randrange(65536)} 8 1 0123456789ABCDEF0123456789ABCDEF01234567")
    return lines


def _data(rng: random.Random, owner: str, target: str, ttl: int) -> list[str]:
    options = [
        f"A 198.51.100.{rng.randrange(1, 255)}",
        f"AAAA 2001:db8::{rng.randrange(1, 65536):x}",
        f'TXT "{owner}"',
        f"MX 10 {target}",
        f"SRV 1 2 3 {target}",
    ]
    return [f"{owner} {ttl} IN {rdata}" for rdata in rng.sample(options, rng.randrange(1, 4))]
