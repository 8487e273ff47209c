"""Tables on disk: what is written is what is loaded, and what is torn is refused, not believed."""

from __future__ import annotations

import marshal
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.answer.compile import compile_sets, layout
from gtm.answer.respond import answer
from gtm.decide.plan import decide
from gtm.geo import tablefile
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.model.health import Health, Judgement, Phases, Result, Vote
from gtm.model.node import Identity
from gtm.publish.dns import judgement_rows, sealed
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import Base, Publisher, load, load_deployment
from tests.answer.table import CNAMES, NAMES, WEIGHTED, classes, table
from tests.answer.test_paths import ecs, opt, query
from tests.decide.world import POOL, deployment, down, snapshot

WANTED = deployment(*NAMES, pools=(POOL, CNAMES, WEIGHTED))
LAYOUT = layout(WANTED, classes().loci)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path, Control(tmp_path, writable=True), key=table().key)


@pytest.fixture(scope="session")
def classes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classes") / "test.classes"
    tablefile.save(path, classes())
    return path


@pytest.fixture
def base(publisher: Publisher, classes_file: Path) -> Base:
    return publisher.lay(WANTED, table().authority, LAYOUT.index, classes_file)


def publish(publisher: Publisher, base: Base, revision: int, *gone: str) -> None:
    plan = decide(snapshot(WANTED, down(*gone))).plan
    publisher.publish(base, WANTED, revision, compile_sets(plan, LAYOUT), now_s=1000.0)


QUESTIONS = [
    query("www.example.com.", edns=opt(ecs(bytes((8, 8, 8)), 24))),
    query("static.example.com.", 16),
    query("alias.example.com."),
]


def test_a_loaded_table_answers_as_the_one_in_memory(publisher: Publisher, base: Base, tmp_path: Path) -> None:
    publish(publisher, base, 1, "us-east")
    loaded = load(tmp_path).table
    for question in QUESTIONS:
        assert answer(loaded, question, b"\x01\2\3\4", 7) == answer(table("us-east"), question, b"\x01\2\3\4", 7)
    assert load_deployment(tmp_path, Manifest.load(tmp_path / "tables")) == WANTED


def test_a_new_revision_shares_what_did_not_change_and_wakes_readers(
    publisher: Publisher, base: Base, tmp_path: Path
) -> None:
    publish(publisher, base, 1)
    reader = Control(tmp_path)
    before, seen = load(tmp_path), reader.generation
    publish(publisher, base, 2, "us-east")
    assert (reader.generation, reader.revision) != (seen, 1)
    after = load(tmp_path, before)
    assert after.table.revision == 2
    assert after.table.authority is before.table.authority
    assert after.table.classes is before.table.classes
    assert answer(after.table, QUESTIONS[0], b"\0\0\0\1", 7) != answer(before.table, QUESTIONS[0], b"\0\0\0\1", 7)


def test_nothing_is_seen_before_the_manifest_names_it(publisher: Publisher, base: Base, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing has been published"):
        load(tmp_path)
    publish(publisher, base, 1)
    sealed.write(tmp_path / "tables" / "answers-2", "answers", b"rubbish")
    assert load(tmp_path).table.revision == 1


def test_old_files_go_but_the_previous_revision_stays(publisher: Publisher, base: Base, tmp_path: Path) -> None:
    for revision in range(1, 6):
        publish(publisher, base, revision)
    assert sorted(path.name for path in (tmp_path / "tables").glob("answers-*")) == ["answers-4", "answers-5"]


@pytest.mark.parametrize("part", ["answers", "authority", "classes", "manifest", "deployment"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damage_is_refused_with_a_clear_error(
    publisher: Publisher, base: Base, tmp_path: Path, part: str, damage: str
) -> None:
    publish(publisher, base, 1)
    (path,) = (tmp_path / "tables").glob(f"{part}*")
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(
            {"cut": data[: len(data) // 2], "flip": data[:60] + b"\xff\0" + data[62:], "empty": b""}[damage]
        )
    with pytest.raises(StoreError, match=part):
        load(tmp_path)
        load_deployment(tmp_path, Manifest.load(tmp_path / "tables"))


def test_a_state_file_can_say_things_but_not_do_things(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("pwned",))

    evil = sealed.freeze(None)[:16] + pickle.dumps(Evil())
    sealed.write(tmp_path / "facts", "facts", len(evil).to_bytes(8, "big") + evil + marshal.dumps([]))
    with pytest.raises(StoreError, match="asks for builtins.print"):
        Facts.load(tmp_path)


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    now = snapshot()
    facts = Facts(
        revision=3,
        now_s=5.0,
        started_s=1.0,
        folder="here",
        judgements=now.judgements,
        overrides=(),
        last_good=decide(now).plan.pools,
        problem="zones/x.yaml:3: wrong",
        probes={"started": 4.0},
    )
    facts.save(tmp_path)
    assert Facts.load(tmp_path) == facts


def test_the_pulse_gets_old_when_nobody_beats(tmp_path: Path) -> None:
    writer = Control(tmp_path, writable=True)
    reader = Control(tmp_path)
    assert reader.age_s() == float("inf")
    writer.pulse()
    first = reader.age_s()
    assert 0 <= first < 60
    assert reader.age_s() >= first
    writer.leave()
    assert reader.pid == 0
    (tmp_path / "control").write_bytes(b"something else" * 5)
    with pytest.raises(StoreError, match="not a gtm control block"):
        Control(tmp_path)


def test_the_identity_travels_with_the_table(publisher: Publisher, base: Base, tmp_path: Path) -> None:
    publish(publisher, base, 1)
    assert load(tmp_path).table.identity == Identity()
    assert isinstance(load_deployment(tmp_path, Manifest.load(tmp_path / "tables")), Deployment)


def test_a_pickle_of_other_fields_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = memoryview(sealed.freeze(Judgement()))
    assert sealed.thaw(frozen) == Judgement()
    monkeypatch.setattr(sealed, "_shapes", lambda: b"0" * 16)
    with pytest.raises(StoreError, match="written by another version of gtm"):
        sealed.thaw(frozen)


targets = st.builds(Target, check=st.sampled_from(("web", "tcp")), address=st.ip_addresses())
times = st.floats(0, 1e10)
phases = st.builds(Phases, connect_s=st.none() | times, tls_s=st.none() | times, first_byte_s=st.none() | times)
results = st.builds(
    Result, at_s=times, ok=st.booleans(), took_s=times, detail=st.text(), poor=st.booleans(), phases=phases
)
votes = st.builds(
    Vote, vantage=st.text(), health=st.sampled_from(Health), counted=st.booleans(), why=st.sampled_from(("", "so"))
)
judgements = st.builds(
    Judgement,
    health=st.sampled_from(Health),
    since_s=times,
    streak=st.integers(0, 100),
    failures=st.integers(0, 100),
    history=st.integers(1, 2**65 - 1),
    last=st.none() | results,
    stale=st.booleans(),
    votes=st.lists(votes, max_size=3).map(tuple),
)


@given(st.dictionaries(targets, judgements, max_size=5))
def test_judgements_come_back_from_rows_as_they_were(some: dict[Target, Judgement]) -> None:
    assert judgement_rows.load(marshal.loads(marshal.dumps(judgement_rows.dump(some)))) == some
