"""Ask the four servers everything again and write the corpus: `python -m tests.authority.regenerate [SET...]`."""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import dns.exception

from gtm.zone.load import load_zones, zone_name
from tests.authority import randomzones
from tests.authority.cases import Ask, Case, Reply, agree, read, render
from tests.authority.peers import ask, running
from tests.authority.questions import questions

HERE = Path(__file__).parent
SEED = 20260401
SETS = {"hard": 0.4, "random": 0.35, "signed": 0.3, "rooted": 0.5}  # share of the usual types asked of each name
# Agreed on by accident: the end of a name, and why it is not asked.
ACCIDENTS = {
    ".d.c.a.r10.test.": "BIND and Knot stop where a DNAME leaves the zone, and NSD takes d.*.a.r4.test. for a wildcard",
    "a.dn.": "BIND and Knot stop where a DNAME leaves the zone, and NSD does not serve a.test.",
    ".grow.dname.test.": "around 512 octets; whether it fits depends on how much is compressed",
}


def main(sets: list[str]) -> None:
    randomzones.write(HERE / "zones" / "random", SEED, families=12)
    for name in sets or list(SETS):
        gather(name)


def gather(name: str) -> None:
    """Write one set's corpus, and print how much of it was agreed, and who disagreed how often."""
    files = {zone_name(path.name) or "": path for path in sorted((HERE / "zones" / name).glob("*.zone"))}
    zones = load_zones({zone: str(path) for zone, path in files.items()}).zones
    rng = random.Random(SEED)
    asked = list(dict.fromkeys(questions(zones, rng, share=SETS[name], dnssec=name == "signed")))
    asked = [question for question in asked if not question.qname.lower().endswith(tuple(ACCIDENTS))]
    agreed: list[Case] = []
    open_: list[str] = []
    dissent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, running(files, Path(folder) / "peers") as ports:
        if name == "signed":
            del ports["power"]  # its bind back end needs a database of its own to serve signed zones
        for peer, port in ports.items():
            for zone in files:
                reply = _reply(Ask(qname=zone, qtype="SOA"), port)
                if reply is None or not reply.aa:
                    print(f"{name}: {peer} does not serve {zone}")
        for question in asked:
            replies = {peer: reply for peer, port in ports.items() if (reply := _reply(question, port)) is not None}
            case = agree(question, replies)
            if case is None:
                open_.append(f"? {question}\n" + "\n".join(f"{peer}: {reply}" for peer, reply in replies.items()))
            else:
                agreed.append(case)
                dissent.update(case.dissenters)
    (HERE / f"{name}.corpus").write_text(render(agreed))
    (Path(tempfile.gettempdir()) / f"{name}.open").write_text("\n\n".join(open_) + "\n")
    print(f"{name}: {len(agreed)} of {len(asked)} agreed; alone against three: {dict(dissent)}")


def _reply(question: Ask, port: int) -> Reply | None:
    wire = ask(port, question.wire(), tcp=question.tcp)
    if wire is None:
        return None
    try:
        return read(wire)
    except dns.exception.DNSException:
        return None


if __name__ == "__main__":
    main(sys.argv[1:])
