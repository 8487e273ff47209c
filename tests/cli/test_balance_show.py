"""`gtm balance show`: which instance, what it balances, and what fits."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.cli.main import main
from gtm.decide.fit import advmss_bytes, overhead_bytes, room_bytes
from gtm.model.balance import Backend, Instance, Wrap
from tests.balancing import DATAPLANE, write


def shown(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["balance", "show", *words, "-C", str(folder)]) == 0
    return capsys.readouterr().out


def test_an_instance_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(write(tmp_path), capsys).splitlines() == [
        "small in us-east: XDP on eth0, native, MTU 1500",
        "  by rack 10.1.0.1",
        "  syncs at 10.1.0.2:6081 with small2",
        "",
        "web: 203.0.113.1, 2001:db8:61::1; tcp/80, udp/443",
        "  65537 slots, drain 5 min, check web, direct",
        "  BACKEND  ADDRESS    BY                         SHARE  ADDS  ROOM  ADVMSS",
        "  a1       10.1.0.11  gue + second chance, rack  25.0%  40    1460  1420 (IPv4), 1400 (IPv6)",
        "  a2       10.1.0.12  l2                         75.0%  0     1500  1460 (IPv4), 1440 (IPv6)",
        "",
        "mail: 203.0.113.2; tcp/25",
        "  65537 slots, drain 5 min, no check",
        "  BACKEND  ADDRESS    BY  SHARE   ADDS  ROOM  ADVMSS",
        "  m1       10.1.0.21  l2  100.0%  0     1500  1460 (IPv4)",
        "",
        "drops: deny, malformed; would drop: nothing",
        "note: web: full packets do not fit on the way to a1: a larger MTU, or advmss",
        "note: mail has no check: a backend that is gone goes on getting its packets",
    ]


def test_another_instance_and_what_it_does_not_balance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(shown(write(tmp_path), capsys, "--node", "edge-eu", "--json"))
    assert [(each["name"], [b["name"] for b in each["backends"]]) for each in document["services"]] == [("web", ["b1"])]
    assert document["listen"] is None
    assert document["peers"] == []
    assert "mail has no backend for eu-west: its packets pass to this machine itself" in document["notes"]
    document = json.loads(shown(tmp_path, capsys, "--node", "small2", "--json"))
    (first, *_) = document["services"][0]["backends"]
    assert (first["room_bytes"], first["advmss4"], first["advmss6"]) == (1560, 1460, 1440)
    assert document["peers"] == ["small"]


@pytest.mark.parametrize(
    ("words", "text", "code", "said"),
    [
        (["--node", "smal"], DATAPLANE, 2, "there is no instance smal; did you mean small? (instances: small, small2"),
        ([], DATAPLANE.replace("  small:", "  other:"), 1, "small, which gtm.yaml says this node is, is no instance"),
        ([], None, 1, "dataplane/services.yaml: there is no such file, so nothing is balanced"),
        ([], "services: {}\n", 1, "secret_file: is missing"),
    ],
)
def test_what_cannot_be_shown_is_said(
    words: list[str], text: str | None, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, text or "")
    if text is None:
        (folder / "dataplane/services.yaml").unlink()
    assert main(["balance", "show", *words, "-C", str(folder)]) == code
    assert said in capsys.readouterr().err


LB = Instance(node="lb", region="us-east", interface="eth0", mtu_bytes=1500)


@pytest.mark.parametrize(
    ("wrap", "address", "second_chance", "overhead"),
    [
        (Wrap.L2, "10.0.0.1", False, 0), (Wrap.L2, "2001:db8::1", False, 0), (Wrap.IPIP, "10.0.0.1", False, 20),
        (Wrap.IPIP, "2001:db8::1", False, 40), (Wrap.GRE, "10.0.0.1", False, 24), (Wrap.GUE, "10.0.0.1", False, 32),
        (Wrap.GUE, "10.0.0.1", True, 40), (Wrap.GUE, "2001:db8::1", False, 52), (Wrap.GUE, "2001:db8::1", True, 72),
    ],
)  # fmt: skip
def test_what_fits(wrap: Wrap, address: str, second_chance: bool, overhead: int) -> None:
    backend = Backend(name="a", address=ip_address(address), wrap=wrap, second_chance=second_chance)
    assert overhead_bytes(backend) == overhead
    assert room_bytes(backend, LB) == 1500 - overhead
    assert advmss_bytes(1500 - overhead, 4) == 1460 - overhead
    assert advmss_bytes(1500 - overhead, 6) == 1440 - overhead


def test_check_counts_what_is_balanced_and_reads_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, f"{DATAPLANE}protection: {{deny_files: [lists/deny, lists/more]}}\n")
    (folder / "lists").mkdir()
    (folder / "lists/deny").write_text("198.51.100.0/24\nexample.com\n")
    assert main(["check", "-C", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "lists/deny:2: 'example.com' is not a network (allowed: an address, or a network" in said
    assert "lists/more: there is no such file (allowed: one network a line)" in said
    assert "2 errors; tests were not run" in said
    for name in ("deny", "more"):
        (folder / "lists" / name).write_text("198.51.100.0/24\n")
    assert main(["check", "-C", str(folder)]) == 0
    assert "2 balanced services, 4 backends" in capsys.readouterr().out
