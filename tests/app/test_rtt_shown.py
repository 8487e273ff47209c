"""What explanations and `gtm rtt show` say of round-trip times."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gtm.app import rtt_show
from gtm.app.bundle import build, relocate
from gtm.app.explain import Explained, explain_document, explained
from gtm.app.explain_text import explain_text
from gtm.app.question import Question
from gtm.app.rtt import FILE, RttKeeper, read_kept
from gtm.app.rtt_places import place_finder
from gtm.app.scene import Scene, scene_of_bundle
from gtm.model.errors import AskedError, GtmError
from gtm.model.rtt import RttSettings
from tests.app.test_rtt_keeper import MEASURED_MS, RTT_STEERING, SAO_PAULO, folder_of, samples
from tests.geo.databases import write as write_database


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A node that has measured Sao Paulo well, and 198.51.0.0/24 twice from one region."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "geodata").mkdir()
    record: dict[str, str | int] = {"country_code": "BR", "autonomous_system_number": 64501}
    write_database(folder / "geodata/asn.mmdb", {"203.0.8.0/21": record, "198.51.0.0/16": {"country_code": "BR"}})
    bundle = build(folder_of(folder, RTT_STEERING), folder / "cache")
    now_s = time.time()
    keeper = RttKeeper(RttSettings(), None, place_finder(bundle.geography, folder / "cache"), lambda: now_s)
    keeper.add(samples(MEASURED_MS, now_s - 50))
    keeper.add(samples({"us-east": 80.0}, now_s - 50, ip_network("203.0.2.0/24"), count=2))
    found = keeper.tick(now_s)
    assert found is not None
    keeper.save(folder / FILE)
    kept = read_kept(folder / FILE)
    return replace(scene_of_bundle(relocate(bundle, found, folder / "cache"), folder / "cache"), rtt=kept)


def told(scene: Scene, client: str) -> Explained:
    question = Question(name="www.example.com", rtype="A", client=client, down=())
    return explained(scene, question, time.time())


def test_a_measured_client_is_told_the_times_and_why_they_decide(scene: Scene) -> None:
    found = told(scene, "203.0.9.7")
    assert [step.region for step in found.regions][:3] == ["us-east", "us-west", "eu-west"]
    assert [(one.level, one.key, one.decides) for one in found.measured] == [
        ("network", "203.0.9.0/24", True),
        ("asn", "AS64501", False),
        ("country", "BR", False),
    ]
    first = found.measured[0]
    assert [(one.region, one.rtt_ms, one.samples, one.warm) for one in first.regions] == [
        ("us-east", 120.0, 10, True),
        ("us-west", 150.0, 10, True),
        ("eu-west", 180.0, 10, True),
    ]
    assert first.regions[0].age_s >= 50
    assert "better by 10 % and 5 ms (dead band); nothing changes for another" in first.reason
    assert found.measured[1].reason == "a more specific level decides"
    text = explain_text(found)
    assert "round-trip times, as known now" in text
    assert "from everyone: rtt" in text
    assert json.loads(json.dumps(explain_document(found)))["measured"][0]["regions"][0]["region"] == "us-east"


def test_a_client_of_a_measured_country_goes_by_that(scene: Scene) -> None:
    found = told(scene, "198.51.7.7")
    assert [(one.level, one.decides) for one in found.measured] == [("network", False), ("country", True)]
    assert [step.region for step in found.regions][:2] == ["us-east", "us-west"]
    assert [(one.level, one.decides) for one in told(scene, "BR").measured] == [("country", True)]


def test_a_client_that_is_hardly_measured_is_told_what_is_missing(scene: Scene) -> None:
    found = told(scene, "203.0.2.7")
    words = "rtt falls back to nearest: 0 of 2 regions are measured well enough; the best other one has 2 samples of 5"
    assert words in found.notes
    assert found.measured[0].reason.startswith("0 of 2 regions have 5 samples that are at most 86400 s old")
    assert [one.warm for one in found.measured[0].regions] == [False]
    assert "does not count" in explain_text(found)
    nothing = told(replace(scene, rtt=None), "203.0.2.7")
    assert "rtt falls back to nearest: the node has kept no round-trip times yet" in nothing.notes


def test_show_tells_how_much_is_known_and_of_a_client(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtt_show, "scene_of_folder", lambda _: scene)
    shown = rtt_show.show(Path(), None)
    assert (shown.networks, shown.regions, shown.nodes) == (2, ("eu-west", "us-east", "us-west"), ())
    assert shown.preferring == rtt_show.Preferring(networks=1, asns=1, countries=1)
    assert "round-trip times of 2 networks" in rtt_show.rtt_text(shown)
    client = rtt_show.show(Path(), "203.0.2.7")
    assert client.reason is not None
    assert client.reason in rtt_show.rtt_text(client)
    assert rtt_show.rtt_document(client)["client"] == "203.0.2.7"
    with pytest.raises(AskedError, match="is no address"):
        rtt_show.show(Path(), "BR")


def test_show_says_where_nothing_is_measured(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for changed, words in (
        (replace(scene, rtt=None), "kept no round-trip times yet"),
        (replace(scene, deployment=replace(scene.deployment, rtt=None)), "has no probes/rtt.yaml"),
    ):
        monkeypatch.setattr(rtt_show, "scene_of_folder", lambda _, changed=changed: changed)
        with pytest.raises(GtmError, match=words):
            rtt_show.show(Path(), None)


def test_places_know_the_country_and_the_as(scene: Scene) -> None:
    assert scene.rtt is not None
    assert {str(key) for key in scene.rtt.areas} == {"Asn(asn=64501)", "Country(code='BR')", "Country(code='IE')"}
    assert scene.rtt.together_at(SAO_PAULO)["us-east"].samples == 10
