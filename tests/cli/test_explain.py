"""`gtm explain` and `gtm check` over a small deployment read from its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.answer.client import locate
from gtm.answer.compile import compile_sets, layout
from gtm.answer.pick import seed_at, slot
from gtm.app.bundle import build
from gtm.app.check import all_up, check
from gtm.app.check_text import check_text
from gtm.app.explain import Explained, explain_document, explained
from gtm.app.explain_text import explain_text
from gtm.app.question import Question
from gtm.app.scene import Scene, scene_of_bundle
from gtm.cli.main import main
from gtm.model.errors import AskedError
from gtm.wire.ecs import Subnet
from tests.cli.golden import same_as_golden
from tests.cli.small import STEERING, write

NOW_S = 1_800_000_000.0
KEY = 0x1234567890ABCDEF


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = write(tmp_path_factory.mktemp("small"))
    cache = tmp_path_factory.mktemp("cache")
    return replace(all_up(scene_of_bundle(build(folder, cache), cache)), key=KEY)


def ask(scene: Scene, name: str, client: str, rtype: str = "A", *down: str) -> Explained:
    return explained(scene, Question(name=name, rtype=rtype, client=client, down=down), NOW_S)


@pytest.mark.parametrize(
    ("golden", "name", "client", "rtype", "down"),
    [
        ("explain_nearest", "www.example.test", "198.51.100.9", "A", []),
        ("explain_down", "WWW.example.test.", "198.51.100.9", "A", ["us-east"]),
        ("explain_all_down", "www.example.test", "203.0.113.7", "A", ["us-east", "eu-west"]),
        ("explain_nodata", "one.example.test", "DE", "A", ["eu-west"]),
        ("explain_alias", "alias.example.test", "192.0.2.0/24", "A", []),
        ("explain_wildcard", "any.wild.example.test", "DE", "A", []),
        ("explain_no_such_type", "www.example.test", "DE", "AAAA", []),
        ("explain_private", "www.example.test", "10.1.2.3", "A", []),
        ("explain_6to4", "www.example.test", "2002:cb00:7107::1", "A", []),
        ("explain_static", "text.example.test", "DE", "TXT", []),
        ("explain_delegated", "deep.sub.example.test", "DE", "A", []),
        ("explain_empty", "ns1.example.test", "DE", "MX", []),
    ],
)
def test_texts(scene: Scene, golden: str, name: str, client: str, rtype: str, down: list[str]) -> None:
    same_as_golden(golden, explain_text(ask(scene, name, client, rtype, *down)))


@pytest.mark.parametrize(
    ("name", "client", "rtype", "down", "argument", "known"),
    [
        ("ww.example.test", "DE", "A", "", "name", "www.example.test."),
        ("www.exampel.test", "DE", "A", "", "name", "www.example.test."),
        ("a..b", "DE", "A", "", "name", None),
        ("\N{SNOWMAN}.example.test", "DE", "A", "", "name", None),
        ("www.example.test", "DE", "AAA", "", "type", "AAAA"),
        ("www.example.test", "DE", "ANY", "", "type", None),
        ("www.example.test", "nowhere at all", "A", "", "from", None),
        ("www.example.test", "ZZ", "A", "", "from", None),
        ("www.example.test", "300.1.1.1", "A", "", "from", None),
        ("www.example.test", "DE", "A", "us-eats", "down", "us-east"),
    ],
)
def test_bad_questions_name_the_argument_and_what_may_have_been_meant(
    scene: Scene, name: str, client: str, rtype: str, down: str, argument: str, known: str | None
) -> None:
    with pytest.raises(AskedError) as caught:
        ask(scene, name, client, rtype, *([down] if down else []))
    assert caught.value.argument == argument
    assert known is None or known in caught.value.known


@given(name=st.text(max_size=40), client=st.text(max_size=20), rtype=st.text(max_size=8), down=st.text(max_size=8))
def test_no_question_is_worse_than_asked_wrongly(scene: Scene, name: str, client: str, rtype: str, down: str) -> None:
    for question in (
        Question(name=name, rtype="A", client="DE"),
        Question(name="www.example.test", rtype=rtype, client="DE"),
        Question(name="www.example.test", rtype="A", client=client),
        Question(name="www.example.test", rtype="A", client="DE", down=(down,)),
    ):
        try:
            json.dumps(explain_document(explained(scene, question, NOW_S)), allow_nan=False)
        except AskedError as error:
            assert error.argument in {"name", "type", "from", "down"}


@given(address=st.ip_addresses(v=4), now_s=st.floats(min_value=0, max_value=4e9))
def test_the_explained_answer_is_the_compiled_one(scene: Scene, address: object, now_s: float) -> None:
    packed = address.packed  # type: ignore[attr-defined]
    told = explained(scene, Question(name="www.example.test", rtype="A", client=str(address)), now_s)
    lay = layout(scene.deployment, scene.classes.loci)
    made = compile_sets(scene.decision.plan, lay)[lay.index[b"\3www\7example\4test\0"][1]]
    located = locate(scene.classes, packed, Subnet(family=1, source=32, address=packed))
    ring = made.rings[made.orders[located.class_]]
    ready = ring[slot(located.net, seed_at(KEY, now_s), len(ring))]
    assert [part.rpartition(".")[2] for part in told.answer] == [str(ready[-1])]
    assert told.scope == located.scope
    assert told.class_id == located.class_


# Check


def test_a_good_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert main(["check", "-C", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 zone, 3 steered names, 2 pools, 2 regions, 3 targets, 3 classes of clients",
        f"{tmp_path}: ok, 4 of 4 tests passed",
    ]


def test_a_failed_test_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    steering = tmp_path / "zones" / "example.test.yaml"
    steering.write_text(
        STEERING
        + "  - {ask: www A, from: 192.0.2.0/24, region: us-east}\n"
        + "  - {ask: one A, from: DE, down: eu-west, region: eu-west}\n"
    )
    monkeypatch.chdir(tmp_path)
    report = check(Path())
    assert not report.ok
    assert [(test.wanted, test.got) for test in report.tests_failed] == [
        ("us-east", "eu-west (in parts; us-east in others)"),
        ("eu-west", "no data"),
    ]
    same_as_golden("check_failed_tests", check_text(report))


def test_faults_of_all_parts_are_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    for file, old, new in (
        ("gtm.yaml", "workers: 1", "wrokers: 1"),
        ("geodata/overrides.csv", "203.0.113.0/24,DE", "203.0.113.0/24,Germany"),
        ("probes/checks.yaml", "fall: 1", "fall: -1"),
        ("zones/example.test.zone", "TXT ", "TXTT "),
        ("zones/example.test.yaml", "ttl: 20", "ttl: soon"),
    ):
        path = tmp_path / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    assert main(["check", "--json", "-C", str(tmp_path)]) == 1
    report = json.loads(capsys.readouterr().out)
    files = {Path(fault["file"]).name for fault in report["errors"]}
    assert files == {"gtm.yaml", "overrides.csv", "checks.yaml", "example.test.zone", "example.test.yaml"}
    assert all(fault["line"] and fault["message"] for fault in report["errors"])
    assert (report["ok"], report["counts"]) == (False, None)


def test_no_such_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-C", str(tmp_path / "nothing")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-C", str(tmp_path)]) == 1
    assert "zones" in capsys.readouterr().out


def test_zones_alone_are_a_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "a.test.zone").write_text("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n")
    assert main(["check", "-C", str(tmp_path)]) == 0
    assert main(["explain", "ns.a.test", "--from", "DE", "-C", str(tmp_path)]) == 0
    assert "ns.a.test. 60 IN A 192.0.2.1" in capsys.readouterr().out


def test_init_makes_what_checks_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "mine"
    assert main(["init", str(made)]) == 0
    assert main(["check", "-C", str(made)]) == 0
    assert main(["init", str(made)]) == 3
    assert "already" in capsys.readouterr().err


def test_a_client_without_a_place_is_said(scene: Scene) -> None:
    note = "11.1.2.3 has no known place: `nearest` goes by the regions' shares of traffic."
    assert note in ask(scene, "www.example.test", "11.1.2.3").notes
    assert not any("no known place" in text for text in ask(scene, "www.example.test", "198.51.100.9").notes)
