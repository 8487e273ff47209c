"""The README's table of clients, against the reference deployment with the bundled database: answered and explained."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import dns.edns
import dns.message
import dns.rdatatype
import pytest

from gtm.answer.compile import compile_sets
from gtm.answer.pick import seed_at
from gtm.answer.respond import answer
from gtm.answer.table import AnswerTable
from gtm.app.bundle import build
from gtm.app.check import all_up
from gtm.app.explain import explained
from gtm.app.question import Question
from gtm.app.scene import Scene, scene_of_bundle
from gtm.publish.dns.control import Control
from gtm.publish.dns.tables import Publisher, load

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^\| (?P<city>[\w ]+) \| (?P<network>[\d./]+) \| (?P<region>[\w-]+), (?P<part>[\d.]+)x \| /(?P<scope>\d+) \|$"
)
EXPECTED = {
    "New York": "us-east",
    "San Francisco": "us-west",
    "London": "eu-west",
    "Sao Paulo": "us-east",
    "Tokyo": "ap-southeast",
    "Sydney": "ap-southeast",
}
ROWS = [found.groupdict() for found in map(ROW.match, (ROOT / "README.md").read_text().splitlines()) if found]
NAME, KEY, NOW_S = "www.lb.example.com", 0x1234567890ABCDEF, 1_800_000_000.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, AnswerTable]:
    """The reference deployment with everything up, as a scene to explain and as the table that a worker loads."""
    state = tmp_path_factory.mktemp("state")
    bundle = build(ROOT, state / "cache")
    scene = replace(all_up(scene_of_bundle(bundle, state / "cache")), key=KEY)
    publisher = Publisher(state, Control(state, writable=True), key=KEY)
    base = publisher.lay(bundle.deployment, bundle.authority, bundle.layout.index, bundle.classes_file)
    publisher.publish(base, bundle.deployment, 1, compile_sets(scene.decision.plan, bundle.layout), NOW_S)
    return scene, load(state).table


def test_the_readme_has_the_six_clients() -> None:
    assert {row["city"]: row["region"] for row in ROWS} == EXPECTED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["city"])
def test_each_client_gets_its_region_and_the_explanation_agrees(
    row: dict[str, str], served: tuple[Scene, AnswerTable]
) -> None:
    scene, table = served
    network = ip_network(row["network"])
    option = dns.edns.ECSOption(str(network.network_address), network.prefixlen)
    query = dns.message.make_query(NAME, "A", use_edns=True, options=[option])
    raw = answer(table, query.to_wire(), bytes((192, 0, 2, 1)), seed_at(KEY, NOW_S))
    assert raw is not None
    reply = dns.message.from_wire(raw)
    (records,) = reply.answer
    (echoed,) = (one for one in reply.options if isinstance(one, dns.edns.ECSOption))
    assert records.rdtype == dns.rdatatype.A
    assert all(record.address.startswith(row["part"]) for record in records)
    assert echoed.scopelen == int(row["scope"])
    told = explained(scene, Question(name=NAME, rtype="A", client=row["network"]), NOW_S)
    assert told.choice is not None
    assert (told.choice.region, told.scope) == (row["region"], int(row["scope"]))
    assert sorted(told.answer) == sorted(record.address for record in records)
