"""What an announcer leaves in its folder, and what is made of it when it cannot be read."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gtm.app.announce import report
from gtm.decide.announce.memory import Memory
from gtm.model.announcing import AnnouncerReport, NeighbourReport, RouteReport, ServiceReport
from gtm.model.anycast import Phase
from gtm.model.errors import GtmError, StoreError
from gtm.model.route import Attributes

PEER = ip_address("198.51.100.1")
REPORT = AnnouncerReport(
    node="edge1",
    region="us-east",
    at_s=10.0,
    started_s=1.0,
    ttl_s=3.0,
    pid=7,
    supervisor_pid=6,
    exabgp_pid=5,
    exabgp="5.0.15",
    services=(ServiceReport(name="web", phase=Phase.UP, reason="good", since_s=2.0, announcing=True),),
    neighbours=(NeighbourReport(name="transit", address=PEER, asn=64496, up=True, since_s=3.0),),
    routes=(
        RouteReport(
            service="web", neighbour=PEER, prefix=ip_network("203.0.113.0/24"), wished=Attributes(med=10), on_wire=True
        ),
    ),
)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report.folder(tmp_path)
    report.save(tmp_path, REPORT)
    assert report.load(tmp_path) == REPORT


def test_no_report_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="announcer/report: No such file"):
        report.load(tmp_path)


def test_memory_is_kept(tmp_path: Path) -> None:
    report.folder(tmp_path)
    memories = report.Memories(saved_s=5.0, services={"web": Memory(phase=Phase.UP, announcing=True)})
    report.save_memory(tmp_path, memories)
    assert report.load_memory(tmp_path) == memories


@pytest.mark.parametrize("damage", [b"", b"gtm announcer-memory\n", b"\xff" * 100])
def test_memory_that_cannot_be_read_is_none(tmp_path: Path, damage: bytes) -> None:
    report.folder(tmp_path)
    (tmp_path / report.FOLDER / report.MEMORY).write_bytes(damage)
    assert report.load_memory(tmp_path).services == {}


def test_a_folder_that_cannot_be_made_says_who_must_be_able_to(tmp_path: Path) -> None:
    (tmp_path / report.FOLDER).write_text("in the way")
    with pytest.raises(GtmError, match="the account .* must be able to make it"):
        report.folder(tmp_path)
