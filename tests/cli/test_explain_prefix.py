"""`gtm explain prefix`: what is known of an announcement, with and without an announcer and a store."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gtm.app.announce import report as reports
from gtm.app.explain_prefix import explain_prefix
from gtm.app.explain_prefix_text import prefix_text
from gtm.cli.main import main
from gtm.model.announcing import AnnouncerReport
from gtm.model.anycast import Phase
from gtm.model.errors import AskedError
from gtm.wire.announcing import Leaving, Telling, Told, encode_leaving, encode_telling
from tests.announcing import write
from tests.etcd import etcd_node
from tests.web.announced import REPORT, SHY, V4


def announcer(folder: Path, *, pid: int = 4800) -> AnnouncerReport:
    """The report of an announcer that has just drained `web` to its second rung."""
    now_s = time.time()
    draining = replace(
        REPORT.services[1],
        name="web",
        since_s=now_s - 100,
        rung_since_s=now_s - 10,
        rungs_left=("connections", "withdraw", "address"),
    )
    route = replace(REPORT.routes[0], wished=SHY, since_s=now_s - 10)
    made = replace(
        REPORT, node="small", region="us-east", at_s=now_s, ttl_s=3600.0, pid=pid, services=(draining,), routes=(route,)
    )
    reports.folder(folder / "state")
    reports.save(folder / "state", made)
    return made


def test_without_an_announcer_and_a_store(tmp_path: Path) -> None:
    told = explain_prefix(write(tmp_path), "203.0.113.0/24")
    assert prefix_text(told).splitlines() == [
        "203.0.113.0/24: service web, together with 2001:db8:61::/48",
        "  announced from  nowhere that is known",
        "  may be          from us-east, eu-west",
        "  note  no announcer has run here (small is a speaker)",
        "  note  no shared store: what other PoPs announce is not known here",
        "",
        "speakers",
        "  NODE     REGION   STATE  ANNOUNCES  SINCE",
        "  small    us-east  -      not known  -",
        "  small2   us-east  -      not known  -",
        "  edge-eu  eu-west  -      not known  -",
    ]


def test_what_is_announced_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    made = announcer(folder)
    assert main(["explain", "prefix", "203.0.113.7", "-C", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("203.0.113.7/32 (in 203.0.113.0/24): service web")
    told = replace(explain_prefix(folder, "203.0.113.7"), now_s=made.at_s)
    assert prefix_text(told).splitlines() == [
        "203.0.113.7/32 (in 203.0.113.0/24): service web, together with 2001:db8:61::/48",
        "  announced from  us-east",
        "  may be          from us-east, eu-west",
        "  note  no shared store: what other PoPs announce is not known here",
        "",
        "here DRAINING for 2 min: drained by ana: new kernel",
        "  on the ladder at unattractive, then connections, withdraw, address, 5 min at most",
        "",
        "to transit-a (198.51.100.1), for 10 s",
        "  wished            yes",
        "  accepted          yes",
        "  on the wire       yes",
        "  seen by the peer  yes (by FRR)",
        "  with              AS path 64500 64500 64500 64500",
        "  with              MED 1000",
        "  with              64496:3000 (not-to-peers: not announced to peers)",
        "",
        "speakers",
        "  NODE          REGION   STATE     ANNOUNCES  SINCE",
        "  small (here)  us-east  DRAINING  yes        2 min",
        "  small2        us-east  -         not known  -",
        "  edge-eu       eu-west  -         not known  -",
    ]
    assert main(["explain", "prefix", "2001:db8:61::/48", "-C", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["declared"], document["routes"], document["live"]) == ("2001:db8:61::/48", [], True)


def test_an_announcer_that_has_ended(tmp_path: Path) -> None:
    folder = write(tmp_path)
    announcer(folder, pid=0)
    told = explain_prefix(folder, str(V4))
    assert not told.live
    assert "the announcer here has ended or says nothing" in told.notes[0]
    assert [one.announcing for one in told.speakers] == [None, None, None]


def test_other_pops_are_read_from_the_store(tmp_path: Path) -> None:
    folder = write(tmp_path)
    made = announcer(folder)
    with etcd_node(tmp_path) as etcd:
        with (folder / "gtm.yaml").open("a") as file:
            file.write(etcd.gtm_yaml())
        told = Told(phase=Phase.HELD, announcing=True, leaving=True, since_s=made.at_s - 60)
        telling = Telling(region="eu-west", services={"web": told}, run="x", beat=1)
        etcd.ctl("put", "/gtm/bgp/speaker/edge-eu", encode_telling(telling).decode())
        permit = Leaving(region="us-east", speakers=("small",), until_s=0.0)
        etcd.ctl("put", "/gtm/bgp/leave/web", encode_leaving(permit).decode())
        found = explain_prefix(folder, str(V4))
        assert found.permit == "us-east (small)"
        assert found.notes == ()
        text = prefix_text(replace(found, now_s=made.at_s))
        assert "  announced from   us-east, eu-west" in text
        assert "  edge-eu       eu-west  HELD      yes, wants to leave  60 s" in text
        etcd.members[0].kill()
        assert "etcd does not answer" in explain_prefix(folder, str(V4)).notes[0]


@pytest.mark.parametrize("text", ["203.0.112.0/23", "198.51.100.0/24", "2001:db8:62::/48"])
def test_what_is_not_declared_says_what_is(tmp_path: Path, text: str) -> None:
    with pytest.raises(AskedError, match=f"{ip_network(text)} is not declared") as caught:
        explain_prefix(write(tmp_path), text)
    assert caught.value.known == ("203.0.113.0/24", "2001:db8:61::/48")


def test_what_is_no_prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    assert main(["explain", "prefix", "A", "-C", str(folder)]) != 0
    assert "PREFIX: 'A' is no prefix and no address" in capsys.readouterr().err


def test_a_name_still_needs_a_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    assert main(["explain", "www.example.test", "-C", str(folder)]) == 2
    assert "arguments are required: --from" in capsys.readouterr().err


def test_status_of_a_node_that_only_announces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    announcer(folder)
    main(["status", "-C", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    (head,) = [
        line for line in lines if line.startswith("announcements by small in us-east, announcer alive, pid 4800")
    ]
    assert "shared store connected" in head
    assert main(["status", "--json", "-C", str(folder)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["announcements"]["report"]["routes"][0]["wished"]["communities"]["standard"] == ["64496:3000"]
    assert document["problems"] == ["the BGP session with transit-b (2001:db8:100::1) is down: peer reset"]
