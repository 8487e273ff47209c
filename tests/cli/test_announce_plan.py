"""`gtm announce plan`: the ladder and the guard, dry."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gtm.app.announce.plan import PlannedStep, plan
from gtm.cli.main import main
from gtm.model.errors import AskedError, GtmError
from tests.announcing import ANYCAST, write
from tests.cli import small

ETCD = 'state: etcd\netcd: {endpoints: ["http://127.0.0.1:1"]}\n'  # nobody is asked
LADDER = [
    (0.0, "UP", None, True),
    (0.0, "DRAINING", "dns", True),
    (60.0, "DRAINING", "unattractive", True),
    (90.0, "DRAINING", "connections", True),
    (390.0, "DRAINING", "withdraw", False),
    (395.0, "DRAINED", "address", False),
]


def shared(folder: Path, anycast: str = ANYCAST) -> Path:
    """A deployment whose speakers share a store."""
    write(folder, anycast)
    with (folder / "gtm.yaml").open("a") as file:
        file.write(ETCD)
    return folder


def brief(steps: tuple[PlannedStep, ...]) -> list[tuple[float, str, str | None, bool]]:
    return [(step.at_s, str(step.phase), step.rung, step.announcing) for step in steps]


def test_what_stands_while_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["announce", "plan", "--node", "edge-eu", "-C", str(shared(tmp_path))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "dry run: as it is",
        "  note  the shared store answers, all other speakers announce, and nobody else has left within the window",
        "  note  RPKI is not asked: guard.rpki is off",
        "",
        "web at edge-eu in eu-west",
        "  now: UP, announced: 1 local check good, region eu-west of example.test/web up",
        "    to transit-a  203.0.113.0/24    MED 100, 64500:100",
        "    to transit-a  2001:db8:61::/48  next hop 2001:db8:100:2::2, MED 100, 64500:100",
        "",
        "speakers that announce, before and after",
        "  SERVICE  REGION   SHARE  BEFORE  AFTER",
        "  web      us-east  60 %   2       2",
        "  web      eu-west  40 %   1       1",
        "no region leaves",
    ]


def test_each_rung_of_a_drain_has_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared(tmp_path)
    planned = plan(folder, drain="region/us-east")
    assert [(one.node, brief(one.steps)) for one in planned.announcements] == [("small", LADDER), ("small2", LADDER)]
    steps = planned.announcements[0].steps
    assert [step.addresses for step in steps] == [True, True, True, True, True, False]
    assert steps[2].routes[0].attributes == (
        "AS path 64500 64500 64500 64500",
        "MED 1000",
        "64496:3000 (not-to-peers: not announced to peers)",
        "64500:100",
    )
    assert [(one.region, one.speakers_before, one.speakers_after) for one in planned.regions] == [
        ("us-east", 2, 0),
        ("eu-west", 1, 1),
    ]
    assert planned.share_moved == 0.6
    assert main(["announce", "plan", "--drain", "region/us-east", "-C", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  after 390 s: DRAINING withdraw, not announced: drained by you: dry run" in lines
    assert lines[-1] == "60 % of traffic is to find another PoP; which one, routers decide"


def test_one_instance_of_a_region_leaves_no_gap(tmp_path: Path) -> None:
    planned = plan(shared(tmp_path), drain="speaker/small2")
    assert [(one.node, brief(one.steps)) for one in planned.announcements] == [("small2", LADDER)]
    assert planned.share_moved == 0


def test_the_last_pop_is_held_in_a_dry_run_too(tmp_path: Path) -> None:
    folder = shared(tmp_path, ANYCAST.replace("regions: all", "regions: [eu-west]"))
    for planned, ladder in (
        (plan(folder, drain="region/eu-west"), LADDER[1:4]),
        (plan(folder, down="web", node="edge-eu"), []),
    ):
        (one,) = planned.announcements
        assert brief(one.steps)[1:-1] == ladder
        last = one.steps[-1]
        assert (str(last.phase), last.announcing) == ("HELD", True)
        assert "the last PoP that announces" in last.reason
        assert planned.share_moved == 0


def test_without_a_store_nobody_leaves(tmp_path: Path) -> None:
    planned = plan(write(tmp_path), down="web")
    (one,) = planned.announcements
    assert (one.node, str(one.steps[-1].phase)) == ("small", "HELD")
    assert "no shared store: guard.without_store is hold" in planned.notes


def test_a_fault_is_shown_at_one_speaker(tmp_path: Path) -> None:
    planned = plan(shared(tmp_path), down="web", node="edge-eu")
    (one,) = planned.announcements
    assert brief(one.steps)[-1][1:] == ("DOWN", None, False)
    assert planned.what == "down web at edge-eu"
    assert planned.share_moved == 0.4


def test_what_rpki_refuses_is_said_with_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared(tmp_path, ANYCAST.replace("guard: {", "guard: {rpki: refuse, vrps: bgp/vrps.json, "))
    roa = {"asn": "AS64511", "prefix": "203.0.113.0/24", "maxLength": 24, "ta": "ripe"}
    document = {"metadata": {"generated": int(time.time())}, "roas": [roa]}
    (folder / "bgp" / "vrps.json").write_text(json.dumps(document))
    assert main(["announce", "plan", "--node", "small", "-C", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  refused: RPKI calls 203.0.113.0/24 invalid" in lines
    assert "  RPKI: 203.0.113.0/24 invalid (203.0.113.0/24 up to /24 by AS64511)" in lines
    assert "  RPKI: 2001:db8:61::/48 not-found" in lines
    assert "  web      us-east  60 %   0       0" in lines


def test_a_document_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["announce", "plan", "--drain", "speaker/edge-eu", "--json", "-C", str(shared(tmp_path))]) == 0
    document = json.loads(capsys.readouterr().out)
    (one,) = document["announcements"]
    assert [step["at_s"] for step in one["steps"]] == [0, 0, 60, 90, 390, 395]
    assert document["regions"][1]["speakers_after"] == 0


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"down": "wed"}, "--down"),
        ({"node": "smal"}, "--node"),
        ({"drain": "speaker/none"}, "SUBJECT"),
    ],
)
def test_what_there_is_not(tmp_path: Path, options: dict[str, str], argument: str) -> None:
    with pytest.raises(AskedError) as caught:
        plan(shared(tmp_path), **options)
    assert caught.value.argument == argument


def test_a_speaker_that_does_not_announce_it(tmp_path: Path) -> None:
    folder = shared(tmp_path, ANYCAST.replace("regions: all", "regions: [eu-west]"))
    with pytest.raises(AskedError, match="small does not announce web"):
        plan(folder, down="web", node="small")


def test_where_nothing_is_announced(tmp_path: Path) -> None:
    with pytest.raises(GtmError, match="so nothing is announced"):
        plan(small.write(tmp_path))
