from __future__ import annotations

from dataclasses import replace

from gtm.app.columns import clean, colour, columns, duration, percent
from gtm.app.report import problems_of
from gtm.app.status_text import status_text
from gtm.model.health import Health
from gtm.web.status import AnnouncementsStatus, ControllerStatus, Status, TableStatus
from tests.cli.golden import same_as_golden
from tests.web.announced import ANNOUNCED, WELL
from tests.web.sample import NOW_S, STATUS, well, without_controller


def shown(status: Status) -> str:
    return status_text(replace(status, problems=problems_of(status)))


def test_texts() -> None:
    same_as_golden("status", shown(STATUS))
    same_as_golden("status_without_controller", shown(without_controller()))


def test_nothing_known() -> None:
    empty = Status(
        node="ns1",
        region=None,
        version="0",
        now_s=NOW_S,
        controller=ControllerStatus(alive=False),
        table=None,
        workers=(),
        regions=(),
        pools=(),
        overrides=(),
        databases=(),
    )
    same_as_golden("status_empty", shown(empty))


def test_a_healthy_node_has_no_problems() -> None:
    assert problems_of(well()) == ()


def test_what_is_a_problem() -> None:
    down = replace(well().pools[0], all_down=True)
    told = problems_of(
        replace(
            well(),
            table=TableStatus(revision=3, age_s=None),
            pools=(down,),
            workers=(),
            reload_problem="gtm.yaml:3: node: is no name",
        )
    )
    assert [line.split()[0] for line in told] == ["nobody", "workers", "pool", "the"]
    assert "gtm.yaml:3" in told[-1]


def test_what_is_a_problem_of_the_cluster() -> None:
    cluster = STATUS.cluster
    assert cluster is not None
    own, silent = cluster.nodes
    other = replace(own, name="ns2", deployment="999999999999")
    blind = replace(own, name="ns4", cut_off=True, down=5)
    told = problems_of(replace(well(), cluster=replace(cluster, nodes=(own, other, silent, blind))))
    assert told == (
        "the shared store cannot be reached (no endpoint answers: connection refused): this node decides alone",
        "node ns2 runs another deployment (999999999999, here 0a1b2c3d4e5f)",
        "node ns3 has not been heard of for 14 s",
        "node ns4 sees 5 of 5 targets down: it is taken to be cut off itself",
    )
    assert problems_of(replace(well(), cluster=replace(cluster, connected=True, problem=None, nodes=(own,)))) == ()


def test_colours_do_not_move_columns() -> None:
    painted = status_text(STATUS, paint=colour)
    for code in ("\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"):
        assert code in painted
        painted = painted.replace(code, "")
    assert painted == status_text(STATUS)


def test_foreign_text_cannot_steer_the_terminal() -> None:
    order = replace(STATUS.overrides[0], reason="a\x1b[2Jb\nc\u202ed", owner="\x07eve")
    text = status_text(replace(STATUS, overrides=(order,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert clean("a\nb") == "a b"


def test_columns_of_nothing() -> None:
    assert columns([]) == []
    assert columns([("a", "bb"), ("ccc", "d")], indent=0) == ["a    bb", "ccc  d"]


def test_amounts() -> None:
    amounts = [duration(s) for s in (0.04, 9.94, 60, 600, 7200, 200000)]
    assert amounts == ["0.0 s", "9.9 s", "60 s", "10 min", "2 h", "2 days"]
    assert [percent(share) for share in (0.35, 0.175, 1.0, 0.0)] == ["35 %", "17.5 %", "100 %", "0 %"]
    assert colour("x", Health.UNKNOWN) == "x"


def test_announcements() -> None:
    same_as_golden("status_announcements", shown(replace(well(), announcements=ANNOUNCED)))


def test_an_announcer_that_is_well_is_no_problem() -> None:
    assert problems_of(replace(well(), announcements=WELL)) == ()


def test_an_announcer_that_is_not_there() -> None:
    report = WELL.report
    assert report is not None
    rest = "shared store connected, controller's pulse 0.4 s ago"
    for told, problem, line in (
        (
            AnnouncementsStatus(report=None),
            "this node is a speaker of bgp/anycast.yaml, and no announcer has run here (docs/announcing.md)",
            "announcements no announcer has run here",
        ),
        (
            replace(WELL, alive=False, report=replace(report, pid=0)),
            "the announcer has ended: nothing is announced from here",
            "announcements by edge1 in eu-west, ended",
        ),
        (
            replace(WELL, alive=False, age_s=60.0),
            "the announcer has said nothing for 60 s: what it announced is withdrawn by its lease",
            "announcements by edge1 in eu-west, announcer silent, pid 4800, heard of 60 s ago, " + rest,
        ),
    ):
        status = replace(well(), announcements=told)
        assert problems_of(status) == (problem,)
        assert line in status_text(status).splitlines()
