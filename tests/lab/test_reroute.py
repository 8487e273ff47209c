"""From a fault of a PoP until the kernel of its router sends elsewhere; bench/announce.py measures more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.reroute import FAULTS, laboratory, measure, table

REPEATS = 3
SANITY_S = (
    30.0  # machines that run tests are shared: what is asserted is that it comes about, the table has the figures
)


@pytest.mark.parametrize("kind", ["BIRD", "FRR"])
def test_every_fault_makes_the_router_send_elsewhere(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with laboratory(kind, tmp_path) as lab:
        rows = [measure(lab, fault, REPEATS) for fault in FAULTS]
        told = "\n".join(pop.exabgp.log() for pop in lab.world.pops.values())
    with capsys.disabled():
        print(f"\n{table(rows)}")
    assert [row for row in rows if max(row.took_s) > SANITY_S] == []
    assert "Traceback" not in told
