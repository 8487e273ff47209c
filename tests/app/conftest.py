"""A published state folder for the worker tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gtm.answer.compile import compile_sets, layout
from gtm.decide.plan import decide
from gtm.geo import tablefile
from gtm.publish.dns.control import Control
from gtm.publish.dns.tables import Publisher
from tests.answer.table import CNAMES, NAMES, WEIGHTED, classes, table
from tests.decide.world import POOL, deployment, down, snapshot

Publish = Callable[..., None]


@pytest.fixture(scope="session")
def classes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test classes as a file, made once."""
    path = tmp_path_factory.mktemp("classes") / "test.classes"
    tablefile.save(path, classes())
    return path


@pytest.fixture
def publish(tmp_path: Path, classes_file: Path) -> Publish:
    """A function (revision, regions that are down...) that publishes the test table into tmp_path."""
    wanted = deployment(*NAMES, pools=(POOL, CNAMES, WEIGHTED))
    lay = layout(wanted, classes().loci)
    publisher = Publisher(tmp_path, Control(tmp_path, writable=True), key=table().key)
    base = publisher.lay(wanted, table().authority, lay.index, classes_file)

    def now(revision: int, *gone: str) -> None:
        plan = decide(snapshot(wanted, down(*gone))).plan
        publisher.publish(base, wanted, revision, compile_sets(plan, lay), now_s=1000.0)

    now(1)
    return now
