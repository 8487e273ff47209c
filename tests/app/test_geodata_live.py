"""`gtm geodata update` against a node that serves: another database is taken up, a broken one changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtm.geo.writer import Datum
from tests.app.node import REGIONS, Node, ecs_query, node, until
from tests.app.worker import ask
from tests.geo.databases import nested, write

CLIENT = "198.51.100.0"
COUNTRIES = "AT BE BG CH CZ DE DK EE ES FI FR GR HR HU IT LT LU LV NL PL".split()
SINGAPORE, DUBLIN = nested("SG", None, 1.35, 103.8), nested("IE", None, 53.3, -6.3)


def database(path: Path, place: Datum) -> Path:
    """A database of the client's network, and of as many others as a database must have to be believed."""
    others = {f"11.{number // 256}.{number % 256}.0/24": nested(COUNTRIES[number % 20]) for number in range(1000)}
    return write(path, {f"{CLIENT}/24": place} | others, ip_version=4)


def region(served: Node) -> str:
    """The region that the client gets."""
    reply = ask(ecs_query("www.example.com.", CLIENT), served.port)
    start = reply.index(b"\0", 12) + 5
    return REGIONS[reply[start + 14] - 1]


@contextmanager
def asking(served: Node) -> Iterator[set[str]]:
    """Ask all the while; the regions that were answered. A query that is not answered fails the test."""
    seen: set[str] = set()
    failures: list[Exception] = []
    stop = threading.Event()

    def run() -> None:
        try:
            while not stop.wait(0.005):  # the machine is to do other things besides
                seen.add(region(served))
        except Exception as error:  # noqa: BLE001 - shown by the test itself
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert failures == []


def update(served: Node, file: Path, code: int = 0) -> Any:
    done = served.gtm("geodata", "update", str(file), "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_databases_are_swapped_while_serving(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    with node(folder) as served:
        text = (folder / "gtm.yaml").read_text()
        (folder / "gtm.yaml").write_text(text.replace("geo: []", "geo: [geodata/places.mmdb]"))
        placed = database(folder / "geodata" / "places.mmdb", SINGAPORE)
        first = placed.read_bytes()
        served.serve()
        assert region(served) == "ap-southeast"
        with asking(served) as seen:
            # Another database is in force when the command says so.
            told = update(served, database(tmp_path / "new.mmdb", DUBLIN))
            assert told["changed"] is True
            assert told["applied"]["problem"] is None
            until_revision(served, told["applied"]["revision"])
            assert region(served) == "eu-west"
            # Broken files are refused, and nothing changes: not the file, not the tables.
            second, revision = placed.read_bytes(), served.view().manifest.revision
            for number, broken in enumerate((b"no database", second[: len(second) // 2])):
                bad = tmp_path / f"bad{number}.mmdb"
                bad.write_bytes(broken)
                assert update(served, bad, code=1)["error"]["kind"] == "config"
            assert placed.read_bytes() == second
            assert placed.with_name("places.mmdb.previous").read_bytes() == first
            assert (served.view().manifest.revision, served.view().facts.problem) == (revision, None)
            assert region(served) == "eu-west"
            # And back, from the copy that was kept.
            told = update(served, placed.with_name("places.mmdb.previous"))
            until_revision(served, told["applied"]["revision"])
            assert region(served) == "ap-southeast"
        assert seen == {"ap-southeast", "eu-west"}


def until_revision(served: Node, revision: int) -> None:
    """Wait until every worker answers from a revision, or a later one."""
    until(lambda: all(worker.revision >= revision for worker in served.view().workers))
