"""Orders that nodes share, as people give them; the nodes do not run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtm.app.folders import shared_file, state_folder
from gtm.app.order_book import ClusterBook, Look
from gtm.app.people import Done, give, listing, take_back
from gtm.app.people_text import listing_text, order_text
from gtm.cli.main import main
from gtm.model.errors import AskedError, Refused, StoreError
from gtm.model.override import Action, Override, Subject
from gtm.store import shared_cache
from tests.cli.small import write
from tests.etcd import Etcd, etcd_cluster, etcd_node

DRAIN: dict[str, object] = {
    "action": "drain",
    "owner": "ana",
    "reason": "kernel",
    "for_s": None,
    "force": False,
    "dry_run": False,
}


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    (tmp_path / "etcd").mkdir()
    with etcd_node(tmp_path / "etcd") as etcd:
        yield etcd


def node(tmp_path: Path, name: str, etcd: Etcd) -> Path:
    """The deployment folder of one of several nodes."""
    folder = tmp_path / name
    folder.mkdir()
    write(folder)
    before = (folder / "gtm.yaml").read_text() if (folder / "gtm.yaml").exists() else ""
    lines = [line for line in before.splitlines() if not line.startswith("node:")]
    (folder / "gtm.yaml").write_text("\n".join([f"node: {name}", *lines, etcd.gtm_yaml()]))
    return folder


def drain(folder: Path, subject: str, **more: object) -> Done:
    return give(folder, subject=subject, **(DRAIN | more))  # type: ignore[arg-type]


def test_an_order_of_one_node_is_seen_on_another(tmp_path: Path, etcd: Etcd) -> None:
    a, b = node(tmp_path, "a", etcd), node(tmp_path, "b", etcd)
    done = drain(a, "region/us-east", for_s=3600)
    assert (done.scope, done.shadowed) == ("cluster", False)
    assert order_text(done).splitlines()[1:] == [
        "  for all nodes that share the store",
        "  example.test/web  60 % of traffic moves  us-east, eu-west -> eu-west",
        "no controller runs: it applies when one starts",
    ]
    listed = listing(b, limit=10)
    assert [(str(one.subject), one.owner) for one in listed.overrides] == [("region/us-east", "ana")]
    assert [(one.what, one.who) for one in listed.audit] == [("drain", "ana")]
    assert "orders in force on all nodes that share the store" in listing_text(listed)
    with pytest.raises(Refused):
        drain(b, "region/eu-west")
    replaced = drain(b, "region/us-east", action="force-up", owner="bob").replaced
    assert replaced is not None
    assert replaced.action is Action.DRAIN
    done = take_back(a, subject="region/us-east", actions=("force-up",), owner="eve", force=True, dry_run=False)
    assert done.what == "remove"
    listed = listing(b, limit=10)
    assert listed.overrides == ()
    assert [(one.what, one.who, one.before) for one in listed.audit] == [
        ("remove", "eve", "force-up"),
        ("force-up", "bob", "drain"),
        ("drain", "ana", None),
    ]
    assert [one.what for one in listing(b, limit=1).audit] == ["remove"]
    assert listing(b, limit=0).audit == ()


def test_a_dry_run_changes_nothing(tmp_path: Path, etcd: Etcd) -> None:
    a = node(tmp_path, "a", etcd)
    assert drain(a, "region/us-east", dry_run=True).effects
    assert etcd.keys("/gtm/") == []


def test_an_order_of_this_node_alone_wins_here(tmp_path: Path, etcd: Etcd) -> None:
    a, b = node(tmp_path, "a", etcd), node(tmp_path, "b", etcd)
    done = drain(a, "region/us-east", action="force-up", local=True)
    assert done.scope == "node"
    assert etcd.keys("/gtm/") == []
    done = drain(a, "region/us-east")
    assert done.shadowed
    assert (done.effects, done.applied) == ((), None)
    assert "this node has an order of its own" in order_text(done)
    back = take_back(b, subject="region/us-east", actions=("drain",), owner="x", force=False, dry_run=True)
    assert [effect.before for effect in back.effects] == [("eu-west",)]
    listed = listing(a, limit=10)
    assert [one.action for one in listed.overrides] == [Action.DRAIN]
    assert [one.action for one in listed.local] == [Action.FORCE_UP]
    assert "orders of this node alone, which win here" in listing_text(listed)
    own = listing(a, limit=10, local=True)
    assert (own.scope, [one.action for one in own.overrides]) == ("node", [Action.FORCE_UP])
    with pytest.raises(AskedError, match="gtm undrain takes it back"):
        take_back(a, subject="region/us-east", actions=("force-up",), owner="x", force=False, dry_run=False)
    take_back(a, subject="region/us-east", actions=("force-up",), owner="x", force=True, dry_run=False, local=True)
    assert listing(a, limit=10).local == ()
    assert etcd.keys("/gtm/overrides/") == ["/gtm/overrides/region/us-east"]


def test_the_guard_of_a_local_order_knows_what_was_shared(tmp_path: Path, etcd: Etcd) -> None:
    a = node(tmp_path, "a", etcd)
    now_s = time.time()
    shared = Override(
        subject=Subject(kind="region", name="us-east"), action=Action.DRAIN, owner="b", reason="c", since_s=now_s
    )
    cached = shared_cache.Cached(prefix="/gtm", revision=3, at_s=now_s, overrides=(shared,))
    shared_cache.save(shared_file(state_folder(a)), cached)
    etcd.members[0].kill()
    with pytest.raises(Refused, match="example.test/web"):
        drain(a, "region/eu-west", local=True)


def test_of_two_drains_at_once_one_is_refused(tmp_path: Path, etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look at the same orders before either is made: each alone leaves a region, both together none."""
    a, b = node(tmp_path, "a", etcd), node(tmp_path, "b", etcd)
    drain(a, "region/eu-west", force=True)
    looked = threading.Barrier(2)
    first_look = threading.local()
    look = ClusterBook.look

    def look_together(book: ClusterBook, now_s: float) -> Look:
        found = look(book, now_s)
        if not hasattr(first_look, "over"):
            first_look.over = True
            looked.wait(60)
        return found

    outcomes: dict[str, object] = {}

    def order(folder: Path, subject: str) -> None:
        try:
            outcomes[subject] = drain(folder, subject)
        except Refused as refused:
            outcomes[subject] = refused

    subjects = ("instance/us-east/127.0.1.91", "instance/us-east/127.0.1.92")
    monkeypatch.setattr(ClusterBook, "look", look_together)
    threads = [
        threading.Thread(target=order, args=(folder, subject)) for folder, subject in zip((a, b), subjects, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(type(one).__name__ for one in outcomes.values()) == ["Done", "Refused"]
    monkeypatch.setattr(ClusterBook, "look", look)
    listed = listing(a, limit=10)
    assert len(listed.overrides) == 2
    assert len(listed.audit) == 2


def test_with_the_store_away_nothing_is_half_done(
    tmp_path: Path, etcd: Etcd, capsys: pytest.CaptureFixture[str]
) -> None:
    a = node(tmp_path, "a", etcd)
    etcd.members[0].kill()
    with pytest.raises(StoreError, match="etcd does not answer within 5 s: http://.*: connection refused"):
        drain(a, "region/us-east")
    there = ["-C", str(a), "--json"]
    assert main(["drain", "region/us-east", "--reason", "x", *there]) == 1
    assert "connection refused" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["overrides", *there]) == 1
    capsys.readouterr()
    assert main(["drain", "region/us-east", "--reason", "x", "--local", *there]) == 0
    assert json.loads(capsys.readouterr().out)["scope"] == "node"
    assert main(["overrides", "--local", *there]) == 0
    assert [one["subject"] for one in json.loads(capsys.readouterr().out)["overrides"]] == ["region/us-east"]
    etcd.members[0].start()
    etcd.await_ready()
    assert etcd.keys("/gtm/") == []
    assert main(["undrain", "region/us-east", "--local", *there]) == 0


def test_an_order_during_an_election_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    with etcd_cluster(tmp_path / "etcd") as etcd:
        a = node(tmp_path, "a", etcd)
        etcd.members[etcd.leader()].kill()
        done = drain(a, "region/us-east")
        assert done.replaced is None
        listed = listing(a, limit=10)
        assert len(listed.overrides) == len(listed.audit) == 1


def test_the_audit_is_bounded(tmp_path: Path, etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm.store.etcd.orders.AUDIT_MAX", 4)
    a = node(tmp_path, "a", etcd)
    for number in range(6):
        drain(a, "region/us-east", owner=f"o{number}")
    assert [one.who for one in listing(a, limit=10).audit] == ["o5", "o4", "o3", "o2"]
    assert len(etcd.keys("/gtm/audit/")) == 4
