"""Drains of what announces: the subject speaker/NODE, and the ladder that `gtm drain` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gtm.app.people import subject_of
from gtm.cli.main import main
from gtm.config.deployment import load
from gtm.model.errors import AskedError
from tests.announcing import ANYCAST, write

LADDER = [
    "    dns  announced as before, at most 60 s",
    "    unattractive  MED 1000, 3 times prepended, not-to-peers, at most 30 s",
    "    connections  until at most 10 connections are left, at most 5 min",
    "    withdraw  withdrawn, at most 5.0 s",
    "    address  withdrawn, addresses removed, at most 0.0 s",
    "    withdrawn in 6 min at most",
]


def drained(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["drain", *words, "--reason", "kernel", "--by", "ana", "--dry-run", "-C", str(folder)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_speaker_is_drained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drained(write(tmp_path), capsys, "speaker/small")
    assert lines == [
        "would drain speaker/small, by ana: kernel",
        "  changes no answer now",
        "  announcement of web (203.0.113.0/24, 2001:db8:61::/48) by small goes down the ladder:",
        *LADDER,
    ]


def test_a_region_takes_its_announcements_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drained(write(tmp_path), capsys, "region/us-east")
    assert "60 % of traffic moves" in lines[1]
    assert lines[2] == "  announcement of web (203.0.113.0/24, 2001:db8:61::/48) by small, small2 goes down the ladder:"
    assert lines[3:] == LADDER


def test_the_last_one_is_said_to_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, ANYCAST.replace("regions: all", "regions: [eu-west]"))
    lines = drained(folder, capsys, "speaker/edge-eu")
    assert lines[-1] == "    no other region may announce it: it is HELD there instead of being withdrawn"


def test_the_document_has_the_ladder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drained(write(tmp_path), capsys, "speaker/small", "--json")
    (moved,) = json.loads("\n".join(lines))["announcements"]
    assert (moved["service"], moved["speakers"], moved["withdrawn_s"], moved["last"]) == ("web", ["small"], 390, False)
    assert moved["prefixes"] == ["203.0.113.0/24", "2001:db8:61::/48"]
    assert moved["steps"][2] == {
        "rung": "connections",
        "what": "until at most 10 connections are left",
        "longest_s": 300,
    }


def test_speakers_exist_or_are_meant(tmp_path: Path) -> None:
    deployment = load(write(tmp_path))
    assert str(subject_of("speaker/edge-eu", deployment)) == "speaker/edge-eu"
    with pytest.raises(AskedError) as caught:
        subject_of("speaker/smal", deployment)
    assert "speaker/small" in caught.value.known


def test_a_speaker_is_not_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    assert main(["force", "down", "speaker/small", "--reason", "x", "-C", str(folder)]) != 0
    assert "speaker/small: a speaker can be drained, not forced" in capsys.readouterr().err
