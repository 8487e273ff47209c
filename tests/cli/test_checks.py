"""`gtm check log` and `gtm check tune`, on stores that a chronicle wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from gtm.app import check_log, tune
from gtm.app.chronicle import Chronicle
from gtm.app.folders import store_file
from gtm.app.tune import Wanted
from gtm.app.tune_advice import advice
from gtm.app.tune_text import tune_text
from gtm.cli.main import main
from gtm.decide.health import fold
from gtm.decide.quorum import agree
from gtm.decide.replay import Detection, Score, Setting
from gtm.model.check import Cadence, Target
from gtm.model.errors import AskedError, GtmError
from gtm.model.health import Health, Judgement, Result, Vote
from gtm.store.store import Store
from tests.cli.golden import same_as_golden
from tests.cli.small import write

CADENCE = Cadence(interval_s=10.0, fall=3, rise=2)
CHECKS = "checks:\n  web:\n    tcp: {port: 80}\n    interval: 10s\n    fall: 3\n    rise: 2\n"
ONE, TWO = (Target(check="web", address=ip_address(f"127.0.1.{number}")) for number in (91, 92))
BEGIN_S = 1_900_000_000.0

# Some hours of two instances: "12. 3X" is 12 good results, then three bad ones. The first is restarted (20 s, 30 s) and
# dies once, for 200 s; the second loses a packet now and then.
INCIDENT = {
    ONE: "300. 2X 400. 3X 500. 20X 700.",
    TWO: "200. 1X 90. 1X 400. 1X 1. 1X 600. 2X 634.",
}


def spelled(words: str) -> str:
    return "".join(word[-1] * int(word[:-1]) for word in words.split())


def node(
    folder: Path, told: Mapping[Target, str], *, name: str = "here", begin_s: float = BEGIN_S, others: bool = False
) -> Path:
    """A deployment whose node saw this, one letter each 10 s, and ended; `others`: a second one sees all up."""
    write(folder)
    (folder / "probes" / "checks.yaml").write_text(CHECKS)
    (folder / "state").mkdir()
    now_s = begin_s
    chronicle = Chronicle(name, clock=lambda: now_s)
    own: dict[Target, Judgement] = {}
    with Store(store_file(folder / "state")) as store:
        for number in range(max(map(len, told.values()))):
            now_s = begin_s + 10 * number
            for target, words in told.items():
                if number < len(words):
                    one = result(now_s, words[number])
                    before = own.get(target) or Judgement()
                    own[target] = after = fold(before, one, CADENCE)
                    chronicle.result(target, one)
                    tell(chronicle, target, name, before, after, others=others)
            if number % 6 == 0:
                store.write_chronicle(chronicle.take(), now_s)
        store.write_chronicle(chronicle.take(final=True), now_s)
    return folder


def result(at_s: float, letter: str) -> Result:
    return Result(at_s=at_s, ok=letter != "X", took_s=0.012, detail="refused" if letter == "X" else "connected")


def tell(chronicle: Chronicle, target: Target, name: str, before: Judgement, after: Judgement, *, others: bool) -> None:
    if before.health is after.health:
        return
    chronicle.change(target, name, before, after)
    votes = (Vote(vantage=name, health=after.health), Vote(vantage="there", health=Health.UP))
    if not others:
        chronicle.change(target, "", before, after)
    elif agree(votes, 0.5) is not Health.UP:
        chronicle.change(target, "", before, Judgement(health=after.health, last=after.last, votes=votes))


@pytest.fixture
def incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(time, "time", lambda: BEGIN_S + 86400)
    return node(tmp_path / "here", {target: spelled(words) for target, words in INCIDENT.items()})


def run_json(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    assert main([*map(str, words), "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


class TestTune:
    def test_an_incident_as_an_operator_reads_it(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "tune", "web", "-C", str(incident)]) == 0
        same_as_golden("check_tune", capsys.readouterr().out.rstrip("\n"))

    def test_intervals_and_quorums(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        there = ["check", "tune", "web", "-C", str(incident)]
        assert main([*there, "--interval", "5s,10s,1m", "--fall", "2,3", "--rise", "2", "--outage", "2m"]) == 0
        same_as_golden("check_tune_interval", capsys.readouterr().out.rstrip("\n"))

    def test_json_has_the_same_facts(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told = run_json(capsys, "check", "tune", "-C", incident, "--fall", "2", "--rise", "2")
        (web,) = told["checks"]
        assert (told["since_s"], told["outage_s"]) == (BEGIN_S + 86400 - 7 * 86400, 30)
        assert (web["check"], web["targets"], web["vantages"], web["results"]) == ("web", 2, ["here"], 3856)
        assert (web["outages"], web["blips"]) == (2, 6)
        now, quick = web["scores"]
        assert now["setting"] == {"interval_s": 10.0, "fall": 3, "rise": 2, "quorum": 0.51}
        assert (now["failovers"], now["false"], now["missed"], now["extrapolated"]) == (2, 0, 0, False)
        assert (quick["failovers"], quick["false"], quick["missed"]) == (4, 2, 0)
        assert quick["detection"] == {"min_s": 10.0, "median_s": 10.0, "p95_s": 10.0, "max_s": 10.0}

    def test_two_nodes_are_joined_by_their_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One node alone has lost its way to the target; both see it die later."""
        monkeypatch.setattr(time, "time", lambda: BEGIN_S + 86400)
        here = node(tmp_path / "here", {ONE: spelled("50. 10X 50. 10X 50.")}, name="here")
        there = node(tmp_path / "there", {ONE: spelled("110. 10X 50.")}, name="there", begin_s=BEGIN_S + 3)
        export = tmp_path / "there.jsonl"
        assert main(["check", "log", "-C", str(there), "--export", str(export)]) == 0
        alone = tune.tune(here, Wanted(check="web")).checks[0]
        assert (alone.vantages, alone.outages, alone.scores[0].failovers) == (("here",), 2, 2)
        joined = tune.tune(here, Wanted(check="web", fall="3", rise="2", quorum="50%,51%", files=(export,))).checks[0]
        assert (joined.vantages, joined.outages) == (("here", "there"), 1)
        by_quorum = {one.setting.quorum: (one.failovers, one.false, one.missed) for one in joined.scores}
        assert by_quorum == {0.51: (1, 0, 0), 0.5: (2, 1, 0)}
        assert tune.tune(here, Wanted(check="web", files=(export, export))).checks[0].results == joined.results

    def test_a_file_may_be_all_there_is(self, incident: Path, tmp_path: Path) -> None:
        export = tmp_path / "node.jsonl"
        assert main(["check", "log", "-C", str(incident), "--export", str(export)]) == 0
        elsewhere = write(tmp_path / "elsewhere")
        (elsewhere / "probes" / "checks.yaml").write_text(CHECKS)
        assert tune.tune(elsewhere, Wanted(files=(export,))).checks == tune.tune(incident, Wanted()).checks

    def test_only_what_is_recent_enough_counts(self, incident: Path) -> None:
        assert tune.tune(incident, Wanted(since_s=3600.0)).checks == ()
        assert tune_text(tune.tune(incident, Wanted(since_s=3600.0))).startswith("no results have been written down")

    @pytest.mark.parametrize(
        ("argument", "words"),
        [
            ("CHECK", ["nothing"]), ("--interval", ["--interval", "often"]), ("--interval", ["--interval", "0s"]),
            ("--interval", ["--interval", "10s,,5s"]), ("--fall", ["--fall", "0"]), ("--fall", ["--fall", "2-5"]),
            ("--fall", ["--fall", "101"]), ("--rise", ["--rise", "\u0662"]), ("--quorum", ["--quorum", "0%"]),
            ("--quorum", ["--quorum", "101%"]),
            ("--interval", ["--fall", ",".join(map(str, range(1, 50))), "--rise", "1,2,3,4,5"]),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_said(
        self, incident: Path, capsys: pytest.CaptureFixture[str], argument: str, words: list[str]
    ) -> None:
        error = run_json(capsys, "check", "tune", "-C", incident, *words, code=2)["error"]
        assert error["argument"] == argument

    def test_a_composed_check_has_no_results(self, incident: Path) -> None:
        with (incident / "probes" / "checks.yaml").open("a") as file:
            file.write("  both:\n    all: [web, web@127.0.2.91]\n")
        with pytest.raises(AskedError, match="composed"):
            tune.tune(incident, Wanted(check="both"))

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("", None), ("{}", "1: is not what"), ("nonsense", "1: is not a JSON object"), ("[]", "1: is not a JSON"),
            ('{"gtm_chronicle": 2}', "1: is not what"),
            ('{"gtm_chronicle": 1}\n{"run": {"target": "web@1.2.3.4"}}', "2: the run has no vantage"),
            ('{"gtm_chronicle": 1}\n{"run": {"target": "web"}}', "2: is not a run: target is not CHECK@ADDRESS"),
            ('{"gtm_chronicle": 1}\n{"run": 7}', "2: is not a run"),
            ('{"gtm_chronicle": 1}\n{"ru', "2: is not a JSON object"),
        ],
    )  # fmt: skip
    def test_a_file_that_is_none_is_named_with_its_line(
        self, incident: Path, tmp_path: Path, content: str, why: str | None
    ) -> None:
        path = tmp_path / "odd.jsonl"
        path.write_text(content)
        if why is None:
            assert len(tune.tune(incident, Wanted(files=(path,))).checks) == 1
        else:
            with pytest.raises(GtmError, match=f"odd.jsonl:{why}"):
                tune.tune(incident, Wanted(files=(path,)))
        with pytest.raises(GtmError, match="No such file"):
            tune.tune(incident, Wanted(files=(tmp_path / "missing",)))


class TestLog:
    def test_changes_with_their_evidence(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "log", f"web@{ONE.address}", "--runs", "-C", str(incident)]) == 0
        same_as_golden("check_log", capsys.readouterr().out.rstrip("\n"))

    def test_json_has_the_same_facts(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told = run_json(capsys, "check", "log", "web", "-C", incident, "--vantages")
        changes = told["transitions"]
        assert [one["vantage"] for one in changes] == ["here", ""] * 6
        falls = [one for one in changes if one["now"] == "DOWN" and not one["vantage"]]
        assert [(one["target"], one["was"], one["lasted_s"], one["failures"], one["history"]) for one in falls] == [
            (str(ONE), "UP", 7040.0, 3, "0" * 17 + "111"), (str(ONE), "UP", 5010.0, 3, "0" * 17 + "111"),
        ]  # fmt: skip
        assert falls[0]["last"]["detail"] == "refused"
        assert told["runs"] is None

    def test_votes_are_shown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time", lambda: BEGIN_S + 600)
        folder = node(tmp_path / "here", {ONE: spelled("9. 5X")}, others=True)
        text = check_log.log_text(check_log.log(folder, None, since_s=None, runs=False, vantages=False, export=None))
        assert "[here DOWN; there UP;]" in text

    def test_quiet_times_are_said_to_be_quiet(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "log", "--since", "1h", "--runs", "-C", str(incident)]) == 0
        assert capsys.readouterr().out == (
            "no verdict has changed since 2030-03-18T16:46:40Z\n\n"
            "no results have been written down since 2030-03-18T16:46:40Z\n"
        )

    @pytest.mark.parametrize("subject", ["wub", "web@nowhere", "@127.0.1.91", ""])
    def test_what_makes_no_sense_is_said(
        self, incident: Path, capsys: pytest.CaptureFixture[str], subject: str
    ) -> None:
        error = run_json(capsys, "check", "log", subject, "-C", incident, code=2)["error"]
        assert error["argument"] == "CHECK"

    def test_where_no_node_has_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = write(tmp_path)
        for command in ("log", "tune"):
            assert main(["check", command, "-C", str(folder)]) == 1
            assert "no node has run" in capsys.readouterr().err
        assert not (folder / "state").exists()

    def test_an_export_is_whole_or_not_there(self, incident: Path, tmp_path: Path) -> None:
        with pytest.raises(GtmError, match="No such file or directory"):
            export(incident, tmp_path / "missing" / "file")
        export(incident, tmp_path / "file")
        lines = [json.loads(line) for line in (tmp_path / "file").read_text().splitlines()]
        assert lines[0] == {"gtm_chronicle": 1}
        assert [next(iter(line)) for line in lines[1:]] == ["transition"] * 12 + ["run"] * 18
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "here"]


def export(folder: Path, path: Path) -> None:
    check_log.log(folder, None, since_s=None, runs=False, vantages=False, export=path)


class TestCheckItself:
    def test_it_still_checks_the_deployment(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["check", "-C", str(incident)], ["-C", str(incident), "check"]):
            assert run_json(capsys, *words)["ok"] is True
        (incident / "gtm.yaml").write_text("node: [")
        assert main(["check", "-C", str(incident)]) == 1

    def test_the_folder_may_stand_before_the_action(self, incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["-C", str(incident), "check", "tune"], ["check", "-C", str(incident), "tune"]):
            assert len(run_json(capsys, *words)["checks"]) == 1


FOUND_SOONER = "found outages in 40 s instead of 80 s, with as many false failovers (0)."
QUIET = "In 7 days there was no outage of 30 s or longer and no failover"


def scored(fall: int, *, failovers: int = 0, false: int = 0, missed: int = 0, found_s: float | None = None) -> Score:
    found = None if found_s is None else Detection(min_s=found_s, median_s=found_s, p95_s=found_s, max_s=found_s)
    setting = Setting(interval_s=10.0, fall=fall, rise=2, quorum=0.51)
    return Score(
        setting=setting, failovers=failovers, false=false, missed=missed, detection=found, down_s=0.0,
        flaps_per_day=0.0, extrapolated=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "outages", "said"),
    [
        (
            (scored(3), scored(2), scored(5)), 0,
            QUIET + ", with any setting: the data says nothing for or against one.",
        ),
        (
            (scored(3), scored(2, failovers=4, false=4), scored(5)), 0,
            QUIET + " with the setting in force; `fall: 2` would have made 4 false failovers. How soon outages are "
            + "found cannot be told from this.",
        ),
        (
            (scored(3, failovers=9, found_s=20), scored(2, failovers=9, found_s=10)), 9,
            "`fall: 2` would have found outages in 10 s instead of 20 s, with as many false failovers (0).",
        ),
        (
            (scored(3, failovers=12, false=3, found_s=20), scored(5, failovers=9, found_s=40)), 9,
            "`fall: 5` would have made 0 false failovers instead of 3, and found outages 20 s later.",
        ),
        (
            (scored(3, failovers=2, found_s=20), scored(2, failovers=4, false=2, found_s=10)), 2,
            "Only 2 outages, so a hint at most: of 2 settings none does better than the one in force.",
        ),
        (
            (scored(9, failovers=5, missed=2, found_s=80), scored(5, failovers=7, found_s=40)), 7,
            "`fall: 5` would have missed 0 outages instead of 2 and " + FOUND_SOONER,
        ),
    ],
)  # fmt: skip
def test_the_advice_says_no_more_than_the_data(scores: tuple[Score, ...], outages: int, said: str) -> None:
    assert advice(scores, outages=outages, lasted_s=7 * 86400.0, outage_s=30.0) == said
