"""`gtm explain --at-revision` and `--at`: past answers, worked out again from a node's journal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gtm.answer.compile import compile_sets
from gtm.answer.pick import STEP_S
from gtm.app.bundle import Bundle, build
from gtm.app.explain import Explained, explain_past
from gtm.app.explain_text import explain_text
from gtm.app.folders import store_file
from gtm.app.question import Question, moment_of
from gtm.app.recorder import News, Recorder
from gtm.cli.main import main
from gtm.decide.plan import Decision, decide
from gtm.model.check import Target
from gtm.model.errors import AskedError, GtmError
from gtm.model.health import Health, Judgement
from gtm.model.override import Action, Override, Subject
from gtm.model.snapshot import Snapshot
from gtm.observe.counters import Counters
from gtm.publish.dns.control import Control
from gtm.publish.dns.tables import Publisher
from gtm.store.store import Store
from tests.cli.small import STEERING, write

BEGIN_S = 1_900_000_200.0  # a whole time step, later than any file that the test writes
NEW_YORK = "198.51.100.9"
DRAIN = Override(
    subject=Subject(kind="region", name="us-east"), action=Action.DRAIN, owner="ana", reason="kernel", since_s=BEGIN_S
)


class Journal:
    """A node's state folder as its controller leaves it, revision by revision."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.bundle: Bundle = build(folder, self.state / "cache")
        self.store = Store(store_file(self.state))
        self.publisher = Publisher(self.state, Control(self.state, writable=True), key=7)
        self.recorder = Recorder(folder, self.state, self.store)
        self.decision: Decision | None = None

    def publish(self, revision: int, down: Mapping[str, Health], *orders: Override) -> None:
        """Publish a revision that was decided 1000 s after the one before, with some regions' instances not up."""
        bundle = self.bundle
        targets = bundle.deployment.targets()
        snapshot = Snapshot(
            revision=revision,
            now_s=BEGIN_S + 1000 * revision,
            deployment=bundle.deployment,
            judgements={target: Judgement(health=self._health(target, down)) for target in targets},
            overrides=orders,
        )
        self.decision = decide(snapshot, self.decision)
        base = self.publisher.lay(bundle.deployment, bundle.authority, bundle.layout.index, bundle.classes_file)
        sets = compile_sets(self.decision.plan, bundle.layout)
        self.publisher.publish(base, bundle.deployment, revision, sets, snapshot.now_s)
        self.recorder.write(
            News(
                decision=self.decision,
                judgements=snapshot.judgements,
                own=snapshot.judgements,
                overrides=orders,
                problem=None,
                probes=Counters(),
            )
        )

    @staticmethod
    def _health(target: Target, down: Mapping[str, Health]) -> Health:
        region = {"127.0.1": "us-east", "127.0.2": "eu-west"}[str(target.address).rpartition(".")[0]]
        return down.get(region, Health.UP)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Revisions 1: all up, 3: us-east drained, 4: us-east down, 5: all up again. There is no 2."""
    folder = write(tmp_path / "deployment")
    zone = folder / "zones" / "example.test.yaml"
    zone.write_text(STEERING.replace("www: {pool: web, ttl: 20}", "www: {pool: web, ttl: 20, all_down: last_good}"))
    (folder / "state").mkdir()
    made = Journal(folder)
    made.publish(1, {})
    made.publish(3, {}, DRAIN)
    made.publish(4, {"us-east": Health.DOWN})
    made.publish(5, {})
    return made


def ask(
    journal: Journal, *, revision: int | None = None, at_s: float | None = None, client: str = NEW_YORK
) -> Explained:
    question = Question(name="www.example.test", rtype="A", client=client)
    return explain_past(journal.folder, question, revision=revision, at_s=at_s)


def region(told: Explained) -> str | None:
    assert told.choice is not None
    return told.choice.region


def test_each_revision_has_its_own_answer(journal: Journal) -> None:
    assert [region(ask(journal, revision=number)) for number in (1, 3, 4, 5)] == [
        "us-east", "eu-west", "eu-west", "us-east",
    ]  # fmt: skip
    drained, down = ask(journal, revision=3), ask(journal, revision=4)
    assert "drained by ana at region/us-east: kernel" in {one.reason for one in drained.candidates}
    assert "check web@127.0.1.91 says DOWN" in {one.reason for one in down.candidates}
    assert (down.revision, down.live, down.at_s) == (4, False, BEGIN_S + 4000)
    assert "revision 4 (2030-03-17T18:56:40Z)" in down.notes[0]
    assert "revision  4, at 2030-03-17T18:56:40Z" in explain_text(down)


def test_a_moment_has_the_revision_that_was_in_force(journal: Journal) -> None:
    for at_s, number in ((1000.0, 1), (2999.9, 1), (3000.0, 3), (4500.0, 4), (9e6, 5)):
        told = ask(journal, at_s=BEGIN_S + at_s)
        assert (told.revision, told.at_s) == (number, BEGIN_S + at_s)
    with pytest.raises(AskedError, match="does not reach back to .*: it goes from 1 .* to 5 "):
        ask(journal, at_s=BEGIN_S)


def test_slots_are_those_of_the_time(journal: Journal) -> None:
    steps = [ask(journal, at_s=BEGIN_S + 5000 + step * STEP_S).slot for step in range(40)]
    assert all(
        slot is not None and slot.until_s == BEGIN_S + 4800 + (step + 1) * STEP_S for step, slot in enumerate(steps)
    )
    assert {slot.number for slot in steps if slot is not None} == {0, 1, 2, 3}


def test_what_was_last_good_is_found_in_the_journal(journal: Journal) -> None:
    journal.publish(6, {"us-east": Health.DOWN})
    journal.publish(7, {"us-east": Health.DOWN, "eu-west": Health.DOWN})
    journal.publish(8, {})
    told = ask(journal, revision=7)
    assert told.choice is not None
    assert (told.choice.region, told.choice.rule) == ("eu-west", "all_down: last_good")


def test_revisions_in_which_only_ttls_changed_push_no_others_out(journal: Journal) -> None:
    for number in (6, 7):
        journal.publish(number, {})
    journal.publish(8, {}, DRAIN)
    journal.publish(9, {}, DRAIN)
    assert [one.revision for one in journal.store.revisions()] == [8, 5, 4, 3, 1]
    assert ask(journal, at_s=BEGIN_S + 7500).revision == 5


def test_what_the_journal_lacks_is_said(journal: Journal) -> None:
    for number in (0, 2, 6, -1):
        with pytest.raises(AskedError, match=f"no revision {number}: it goes from 1 .* to 5 "):
            ask(journal, revision=number)


def test_a_changed_deployment_is_said(journal: Journal) -> None:
    assert not any("last changed" in note for note in ask(journal, revision=4).notes)
    manifest = json.loads((journal.state / "tables" / "manifest.json").read_text())
    os.utime(journal.state / "tables" / manifest["deployment"], (BEGIN_S + 4500, BEGIN_S + 4500))
    assert any("last changed at 2030-03-17T19:05:00Z, after that" in note for note in ask(journal, revision=4).notes)
    assert not any("last changed" in note for note in ask(journal, revision=5).notes)


def test_targets_that_came_later_are_said(journal: Journal) -> None:
    zone = journal.folder / "zones" / "example.test.yaml"
    zone.write_text(zone.read_text().replace("eu-west: [127.0.2.91]", "eu-west: [127.0.2.91, 127.0.2.92]"))
    journal.bundle = build(journal.folder, journal.state / "cache")
    journal.decision = None
    journal.publish(6, {})
    assert any("1 of the targets were not judged then" in note for note in ask(journal, revision=4).notes)


def test_the_command(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["explain", "www.example.test", "--from", NEW_YORK, "-C", str(journal.folder), "--json"]
    assert main([*there, "--at-revision", "4"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["revision"], told["choice"]["region"], told["at_s"]) == (4, "eu-west", BEGIN_S + 4000)
    assert main([*there, "--at", "2030-03-17T20:00:00+01:00"]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 4
    assert main([*there, "--at-revision", "2"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["argument"] == "--at-revision"
    for wrong in ("yesterday", "2030-03-17T20:00:00", "", "2030-03-17"):
        assert main([*there, "--at", wrong]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["argument"] == "--at"
    assert main([*there, "--at-revision", "4", "--at", "2030-03-17T20:00:00Z"]) == 2


def test_where_no_node_has_run(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with pytest.raises(GtmError, match="no past to look at"):
        explain_past(folder, Question(name="www.example.test", rtype="A", client=NEW_YORK), revision=1, at_s=None)
    assert not (folder / "state").exists()


def test_moments_have_a_zone() -> None:
    assert moment_of("2030-03-17T17:50:00Z") == moment_of("2030-03-17T18:50:00+01:00") == BEGIN_S
