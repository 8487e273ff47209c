from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app.balance import standing
from gtm.app.balance.drains import drains, drains_text
from gtm.model.balance import AttachMode, Wrap
from gtm.model.balancing import BackendReport, BalancerReport, ServiceReport, Standing
from gtm.model.errors import GtmError

AT_S = 1_000_000.0


def backend(name: str, where: Standing, **more: object) -> BackendReport:
    return BackendReport(
        name=name,
        number=1,
        address=ip_address("10.1.0.11"),
        wrap=Wrap.IPIP,
        standing=where,
        reason="drained by alice: disk",
        **more,  # type: ignore[arg-type]
    )


def report(*backends: BackendReport) -> BalancerReport:
    service = ServiceReport(name="web", ring=0, generation=3, slots=251, moving=80, backends=backends)
    return BalancerReport(
        node="lb1",
        region="us-east",
        interface="eth0",
        mode=AttachMode.NATIVE,
        at_s=AT_S,
        started_s=AT_S - 100,
        pid=77,
        pins="/sys/fs/bpf/gtm",
        layout="0123456789ab",
        services=(service,),
    )


def test_progress_and_time_left(tmp_path: Path) -> None:
    (tmp_path / "gtm.yaml").write_text("state_folder: state\n")
    standing.folder(tmp_path / "state")
    with pytest.raises(GtmError, match="`gtm balance run` writes it"):
        drains(tmp_path)
    told = report(
        backend("a1", Standing.DRAINING, until_s=AT_S + 120, flows=12, packets_per_s=34.5, drained=True),
        backend("a2", Standing.ACTIVE),
        backend("a3", Standing.OUT, drained=True),
        backend("a4", Standing.DRAINING, until_s=AT_S + 60, drained=True),
        backend("a5", Standing.OUT),
    )
    standing.save(tmp_path / "state", told)
    found = drains(tmp_path, now_s=AT_S + 1)
    assert found.alive
    assert [(each.backend, each.flows, each.eta_s) for each in found.drains] == [
        ("a1", 12, 119.0),
        ("a3", None, None),
        ("a4", None, 59.0),
    ]
    assert drains_text(found).splitlines() == [
        "web/a1 (10.1.0.11): 12 flows, 34 packets/s, 119 s left: drained by alice: disk",
        "web/a3 (10.1.0.11): out: drained by alice: disk",
        "web/a4 (10.1.0.11): flows not counted yet, 59 s left: drained by alice: disk",
    ]
    old = drains(tmp_path, now_s=AT_S + 60)
    assert not old.alive
    assert drains_text(old).startswith("no manager is at work; this is 60 s old\n")
    standing.save(tmp_path / "state", dataclasses.replace(told, services=()))
    assert drains_text(drains(tmp_path, now_s=AT_S)) == "nothing drains"
