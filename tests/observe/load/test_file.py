"""A file of load: read when it has changed, all or nothing, and every fault said in words."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.errors import AskedError, PeerError
from gtm.model.load import LoadFileSource, LoadMetric, LoadSample
from gtm.observe.load import file as file_module
from gtm.observe.load.file import LoadFile
from gtm.observe.load.reading import Reading
from gtm.observe.load.subjects import Subjects
from gtm.wire import push
from tests.observe.load.world import EAST_1, deployment

SUBJECTS = Subjects.of(deployment())


def source(path: Path) -> LoadFile:
    return LoadFile(LoadFileSource(path=str(path)), SUBJECTS)


def read(file: LoadFile) -> Reading | None:
    return asyncio.run(file.read())


def write(path: Path, document: object) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(document if isinstance(document, str) else json.dumps(document))
    aside.replace(path)


def test_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    loads = [
        {"subject": "region/us-east", "requests": 1200, "utilisation": 0.4},
        {"subject": EAST_1, "connections": 300},
        {"subject": "instance/us-east/198.51.100.1", "connections": 9},
        {"subject": "instance/eu-west/2001:DB8::21", "requests": 1.5},
    ]
    write(path, {"at": 1_700_000_000, "loads": loads})
    found = read(source(path))
    assert found is not None
    at_s = 1_700_000_000.0
    assert found.samples == (
        LoadSample(subject="region/us-east", metric=LoadMetric.REQUESTS, value=1200.0, at_s=at_s),
        LoadSample(subject="region/us-east", metric=LoadMetric.UTILISATION, value=0.4, at_s=at_s),
        LoadSample(subject=EAST_1, metric=LoadMetric.CONNECTIONS, value=300.0, at_s=at_s),
        LoadSample(subject="instance/eu-west/2001:db8::21", metric=LoadMetric.REQUESTS, value=1.5, at_s=at_s),
    )
    assert found.ignored == 1


def test_it_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    one = {"at": 1_700_000_000, "loads": [{"subject": EAST_1, "requests": 1}]}
    write(path, one)
    file = source(path)
    assert read(file) is not None
    assert read(file) is None
    write(path, one)
    assert read(file) is not None
    path.unlink()
    with pytest.raises(PeerError, match="no such file"):
        read(file)
    write(path, one)
    assert read(file) is not None


def test_a_file_from_the_future_is_of_now(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    write(path, {"at": time.time() + 10_000, "loads": [{"subject": EAST_1, "requests": 1}]})
    found = read(source(path))
    assert found is not None
    assert found.samples[0].at_s <= time.time()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "file: is not JSON"),
        ("[]", "body: is not an object {...}"),
        ("{}", "loads: is missing"),
        ('{"loads": [{"subject": "region/us-east", "requests": 1}]}', 'at: is missing (allowed: "at": seconds since'),
        ('{"at": "now", "loads": []}', "at: is not seconds since the epoch (allowed: a number from 0"),
        ('{"at": 1, "loads": {}}', "loads: is not a list"),
        ('{"at": 1, "loads": []}', "loads: has 0 entries (allowed: 1 to 10000)"),
        ('{"at": 1, "loads": [7]}', "loads[0]: is not an object"),
        ('{"at": 1, "load": []}', "load: there is no such key (allowed: at, loads)"),
        ('{"at": 1, "loads": [{"subject": "region/us-east"}]}', "loads[0]: says nothing of region/us-east"),
        (
            '{"at": 1, "loads": [{"subject": "pool/a/b", "requests": 1}]}',
            "loads[0].subject: 'pool/a/b' is not a sub",
        ),
        ('{"at": 1, "loads": [{"subject": 5, "requests": 1}]}', "loads[0].subject: is not text"),
        ('{"at": 1, "loads": [{"requests": 1}]}', "loads[0].subject: is missing"),
        (
            '{"at": 1, "loads": [{"subject": "region/a", "rps": 1}]}',
            "loads[0].rps: there is no such key (allowed: ",
        ),
        ('{"at": 1, "loads": [{"subject": "region/a", "requests": -1}]}', "loads[0].requests: is not a number"),
        ('{"at": 1, "loads": [{"subject": "region/a", "requests": true}]}', "loads[0].requests: is not a number"),
        ('{"at": 1, "loads": [{"subject": "region/a", "requests": NaN}]}', "is not JSON: NaN is no number there"),
        ('{"at": 1, "loads": [{"subject": "region/a", "requests": 1e999}]}', "loads[0].requests: is not a number"),
        ('{"at": 1, "loads": [{"subject": "region/a", "requests": %s}]}' % ("9" * 400), "loads[0].requests: is not a"),
        ('{"at": 1, "loads": [{"subject": "region/a", "utilisation": 40}]}', "did you mean 0.4?"),
        ('{"at": 1, "at": 2, "loads": []}', "a key is given twice"),
        ("[" * 100_000, "file: is nested too deeply"),
    ],
)
def test_every_fault_is_said_each_time_and_nothing_is_taken(document: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    write(path, document)
    file = source(path)
    for _ in range(2):
        with pytest.raises(PeerError) as caught:
            read(file)
        assert said in str(caught.value)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerError, match="is a directory"):
        read(source(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PeerError, match="not a regular file"):
        read(source(tmp_path / "pipe"))
    monkeypatch.setattr(file_module, "SIZE_MAX_BYTES", 10)
    write(tmp_path / "load.json", " " * 11)
    with pytest.raises(PeerError, match="larger than 10 bytes"):
        read(source(tmp_path / "load.json"))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("region/us-east")
KEYS = ("at", "loads", "subject", "requests", "utilisation", "results", "samples", "region", "prefix", "rtt_ms", "x")
trees = st.recursive(
    leaves,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below, max_size=4),
    max_leaves=15,
)


@given(document=trees)
def test_any_document_is_load_or_a_fault_in_words(document: object) -> None:
    for parse in (
        lambda: push.loads(document, 1e9, SUBJECTS.known),
        lambda: push.healths(document, {}, 1e9),
        lambda: push.rtts(document, ("us-east",), 1e9),
    ):
        try:
            parse()
        except AskedError as error:
            assert error.argument
            assert len(str(error)) < 600


@given(body=st.binary(max_size=100))
def test_any_octets_are_json_or_a_fault_in_words(body: bytes) -> None:
    try:
        push.parse(body)
    except AskedError as error:
        assert error.argument == "body"
