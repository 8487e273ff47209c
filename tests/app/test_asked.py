"""Which names are asked: what workers note, what is made of it, and that neither restarts nor faults mislead it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.answer.compile import layout
from gtm.answer.fast import responder
from gtm.answer.marks import Marks
from gtm.answer.respond import respond
from gtm.app import asked
from gtm.app.asked import Asked, clock_s, idle_targets, last_asked
from gtm.app.crew import FOLDER
from gtm.app.nameserver import counters
from gtm.app.nameserver.answerer import Answerer
from gtm.model.check import AtLeast, Cadence, Check, Composed, Member, Target, TcpProbe
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.model.pool import Pool
from gtm.publish.dns.control import Control
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.wire import name as wire_name
from tests.answer.table import CNAMES, NAMES, WEIGHTED, classes, table
from tests.app.conftest import Publish
from tests.app.worker import ask, connect, framed, free_port, receive, worker
from tests.decide.world import POOL, WWW, at, deployment

SOURCE = b"\x01\2\3\4"
SEED = 7
AN_HOUR_S = 3600.0
DEPLOYMENT = deployment(*NAMES, pools=(POOL, CNAMES, WEIGHTED))
LAYOUT = layout(DEPLOYMENT, classes().loci)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """The files of a deployment, by name."""

    authority: str = "authority-1"
    deployment: str = "deployment-1"


def query(owner: str, qtype: int = 1, extra: bytes = b"") -> bytes:
    more = b"\0\1" if extra else b"\0\0"
    return b"\x12\x34\x01\0\0\1\0\0\0\0" + more + wire_name.parse(owner) + qtype.to_bytes(2, "big") + b"\0\1" + extra


def number_of(owner: str, rtype: int = 1) -> int:
    return LAYOUT.index[wire_name.parse(owner)][rtype]


# Noting


@pytest.mark.parametrize(
    ("owner", "name", "qtype", "extra"),
    [
        ("www.example.com.", "www.example.com.", 1, b""),
        ("WwW.example.com.", "www.example.com.", 28, b""),
        ("www.example.com.", "www.example.com.", 1, b"\0\0\x29\4\xd0\0\0\0\0\0\0"),
        ("www.example.com.", "www.example.com.", 1, b"\0\0\x29\4\xd0\0\0\0\0\0\x0b\0\x08\0\7\0\1\x18\0\1\2\3"),
        ("a.b.wild.example.com.", "*.wild.example.com.", 1, b""),
        ("alias.example.com.", "www.example.com.", 1, b""),
        ("host.example.com.", "host.example.com.", 5, b""),
        ("none.example.com.", "none.example.com.", 1, b""),
    ],
)
def test_what_is_asked_is_noted_by_whichever_path_answers(owner: str, name: str, qtype: int, extra: bytes) -> None:
    served = table()
    words = [0] * len(served.sets)
    marks = Marks(words, 5)
    asking = query(owner, qtype, extra)
    assert responder(served, SEED, marks=marks)(asking, SOURCE) or respond(served, asking, SOURCE, SEED, marks=marks)
    assert [number for number, mark in enumerate(words) if mark] == [number_of(name, qtype)]
    assert set(words) == {0, 5}


def test_static_names_note_nothing() -> None:
    served = table()
    words = [0] * len(served.sets)
    for _ in range(2):
        for owner in ("static.example.com.", "missing.example.com.", "elsewhere.test."):
            marks = Marks(words, 5)
            asking = query(owner)
            assert responder(served, SEED, marks=marks)(asking, SOURCE) or respond(
                served, asking, SOURCE, SEED, marks=marks
            )
    assert set(words) == {0}


def test_a_table_begins_as_asked_and_keeps_its_marks_until_there_are_other_sets(tmp_path: Path) -> None:
    path = made(tmp_path) / "dns-0.asked"
    writer = Asked(path)
    first = writer.marks(Laid(), 3)
    assert [*last_asked(tmp_path, Laid(), 3, clock_s())] == [first.now] * 3
    first.of_set[1] = first.now + 7
    again = writer.marks(Laid(), 3)
    assert [*last_asked(tmp_path, Laid(), 3, clock_s())] == [first.now, first.now + 7, first.now]
    assert again.of_set is first.of_set
    more = writer.marks(Laid(deployment="deployment-2"), 5000)
    assert [*last_asked(tmp_path, Laid(deployment="deployment-2"), 5000, clock_s())] == [more.now] * 5000
    fewer = writer.marks(Laid(authority="authority-2"), 2)
    more.of_set[4999] = 1  # by a query that is still being answered from the table before
    fewer.of_set[0] = fewer.now + 9
    assert [*last_asked(tmp_path, Laid(authority="authority-2"), 2, clock_s())] == [fewer.now + 9, fewer.now]


def test_marks_are_of_the_end_of_their_time_step(tmp_path: Path) -> None:
    before_s = clock_s()
    marks = Asked(made(tmp_path) / "dns-0.asked").marks(Laid(), 1)
    assert before_s / 60 <= marks.now <= clock_s() / 60 + 6


def test_the_newest_of_all_workers_counts_also_of_dead_ones(tmp_path: Path) -> None:
    folder = made(tmp_path)
    one, two = Asked(folder / "dns-0.asked").marks(Laid(), 2), Asked(folder / "dns-7.asked").marks(Laid(), 2)
    for marks, words in ((one, (20, 3)), (two, (10, 4))):
        for number, word in enumerate(words):
            marks.of_set[number] = word
    assert [*last_asked(tmp_path, Laid(), 2, clock_s())] == [20, 4]
    one = Asked(folder / "dns-0.asked").marks(Laid(), 2)  # one that starts again has not been asked yet for anything
    assert [*last_asked(tmp_path, Laid(), 2, clock_s())] == [one.now, one.now]


@pytest.mark.parametrize("content", [b"", b"gtm-ask1", os.urandom(500), bytes(500)])
def test_files_that_are_of_something_else_say_nothing(tmp_path: Path, content: bytes) -> None:
    folder = made(tmp_path)
    (folder / "dns-0.asked").write_bytes(content)
    (folder / "dns-1.asked").mkdir()
    Asked(folder / "dns-2.asked").marks(Laid(deployment="another"), 2)
    Asked(folder / "dns-3.asked").marks(Laid(), 3)
    assert [*last_asked(tmp_path, Laid(), 2, 600.0)] == [10, 10]  # nobody has taken up these sets: asked now


def test_marks_of_before_a_reboot_are_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = Asked(made(tmp_path) / "dns-0.asked").marks(Laid(), 1)
    marks.of_set[0] = 4_000_000_000
    monkeypatch.setattr(asked, "boot_id", lambda: 1)
    assert [*last_asked(tmp_path, Laid(), 1, 600.0)] == [10]


def test_a_file_that_cannot_be_had_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        Asked(tmp_path / "nowhere" / "dns-0.asked")


def test_a_full_disk_costs_the_marks_and_no_answer(
    tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting = Asked(made(tmp_path) / "dns-0.asked")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    answerer = Answerer(tmp_path, Control(tmp_path), counters.create(tmp_path / "counters"), asked=noting)
    assert answerer.fast(query("www.example.com."), SOURCE) is not None
    assert answerer.full(query("alias.example.com."), SOURCE) is not None
    monkeypatch.undo()
    publish(2)
    answerer.look()
    assert answerer.fast(query("www.example.com."), SOURCE) is not None
    laid = Manifest.load(tmp_path / TABLES)
    assert set(last_asked(tmp_path, laid, len(LAYOUT.shapes), 0.0)) != {0}


# Idle


QUIET = Cadence(idle_s=60.0)
LOOKED_AT = (Member(check="web"), Member(check="busy"), Member(check="web", address=IPv4Address("9.9.9.9")))
CHECKS = {
    "web": Check(name="web", probe=TcpProbe(port=80), cadence=QUIET),
    "busy": Check(name="busy", probe=TcpProbe(port=81)),
    "both": Check(name="both", probe=Composed(term=AtLeast(count=1, of=LOOKED_AT))),
}


def elsewhere(name: str, probe: str) -> Pool:
    """The pool under another name, with all its instances probed at one address."""
    return replace(POOL, name=name, instances=tuple(replace(i, probe=IPv4Address(probe)) for i in POOL.instances))


OTHER = elsewhere("example.com/other", "9.0.0.1")
NAMELESS = elsewhere("example.com/nameless", "9.0.0.2")


def world(other: str | None = "web") -> Deployment:
    pools = (POOL, replace(OTHER, check=other), replace(NAMELESS, check=other))
    names = (WWW, replace(WWW, owner="other.example.com.", pool=OTHER.name))
    return replace(deployment(*names, pools=pools), checks=CHECKS)


def idle(wanted: Deployment, ages_s: dict[str, float]) -> set[str]:
    """The idle targets, where the pools with names were asked so long ago."""
    lay = layout(wanted, (at("London"),))
    now_s = 100 * AN_HOUR_S
    last = [0] * len(lay.shapes)
    for pool, age_s in ages_s.items():
        last[lay.of_pool[pool][-1]] = int((now_s - age_s) // 60)  # its AAAA alone
    return {str(target) for target in idle_targets(lay, wanted, last, now_s)}


def test_targets_of_pools_that_nobody_asks_for_are_idle() -> None:
    web = {str(target) for target in POOL.targets()}
    wanted = world()
    assert idle(wanted, {POOL.name: 0, OTHER.name: 0}) == {"web@9.0.0.2"}
    assert idle(wanted, {POOL.name: 840, OTHER.name: 901}) == {"web@9.0.0.1", "web@9.0.0.2"}
    assert idle(wanted, {POOL.name: AN_HOUR_S, OTHER.name: 0}) == web | {"web@9.0.0.2"}
    assert idle(wanted, {POOL.name: -300, OTHER.name: -300}) == {"web@9.0.0.2"}  # up to the end of this time step


def test_checks_without_an_idle_interval_are_never_idle() -> None:
    assert idle(world("busy"), {POOL.name: 0, OTHER.name: AN_HOUR_S}) == set()
    steady = replace(world(), checks=CHECKS | {"web": replace(CHECKS["web"], cadence=Cadence())})
    assert idle(steady, {}) == set()
    assert idle(world(None), {POOL.name: 0, OTHER.name: AN_HOUR_S}) == set()


def test_what_a_composed_check_looks_at_is_needed_where_it_is() -> None:
    wanted = world("both")
    assert idle(wanted, {POOL.name: 0, OTHER.name: 0}) == {"web@9.0.0.2"}
    assert idle(wanted, {POOL.name: 0, OTHER.name: AN_HOUR_S}) == {"web@9.0.0.1", "web@9.0.0.2", "web@9.9.9.9"}


def test_a_target_that_pools_share_is_needed_if_one_of_them_is_asked_for() -> None:
    shared = replace(NAMELESS, instances=POOL.instances)
    wanted = replace(world(), pools={**world().pools, shared.name: shared})
    assert idle(wanted, {POOL.name: 0, OTHER.name: 0}) == set()


@given(st.lists(st.integers(-5, 40), min_size=len(LAYOUT.shapes), max_size=len(LAYOUT.shapes)), st.integers(1, 40))
def test_idle_and_needed_are_all_targets_and_share_none(minutes_ago: list[int], after: int) -> None:
    wanted = replace(DEPLOYMENT, checks={"web": CHECKS["web"]})
    last = [1000 - each for each in minutes_ago]
    found = idle_targets(LAYOUT, wanted, last, 60_000.0, after * 60.0)
    needed: set[Target] = set()
    for pool in wanted.pools.values():
        if any(minutes_ago[number] < after for number in LAYOUT.of_pool[pool.name]):
            needed.update(pool.targets())
    assert found == set(wanted.targets()) - needed


# End to end


def made(state: Path) -> Path:
    folder = state / FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def test_a_worker_notes_what_it_answers(tmp_path: Path, publish: Publish) -> None:
    port = free_port()
    laid = Manifest.load(tmp_path / TABLES)
    with worker(tmp_path, f"127.0.0.1:{port}"):
        start = last_asked(tmp_path, laid, len(LAYOUT.shapes), 0.0)
        assert min(start) == max(start) > 0
        path = tmp_path / FOLDER / "dns-0.asked"
        old = bytearray(path.read_bytes())
        with path.open("r+b") as file:  # as though all had been asked an hour ago
            file.seek(len(old) - 4 * len(LAYOUT.shapes))
            file.write(b"".join((word - 60).to_bytes(4, "little") for word in start))
        assert ask(query("www.example.com."), port)[3] & 15 == 0
        with connect(port) as stream:
            stream.sendall(framed(query("weighted.example.com.", 28)))
            assert receive(stream) is not None
        now = last_asked(tmp_path, laid, len(LAYOUT.shapes), 0.0)
        assert {number for number, mark in enumerate(now) if mark >= start[number]} == {
            number_of("www.example.com."),
            number_of("weighted.example.com.", 28),
        }
        quiet = replace(DEPLOYMENT, checks={"web": CHECKS["web"]})
        assert idle_targets(LAYOUT, quiet, now, clock_s()) == frozenset()
        assert idle_targets(LAYOUT, quiet, now, clock_s() + AN_HOUR_S) == frozenset(POOL.targets())
    assert [*last_asked(tmp_path, laid, len(LAYOUT.shapes), 0.0)] == [*now]  # it is dead, and its file counts
