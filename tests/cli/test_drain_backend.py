"""Drains of backend/SERVICE/NAME: what they change, and the guard that keeps the last backend of a region."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gtm.app.people import subject_of
from gtm.cli.main import main
from gtm.config.deployment import load
from gtm.decide.effective import orders_on
from gtm.model.errors import AskedError
from gtm.model.override import Action, Override, Subject
from tests.balancing import DATAPLANE, write


def drain(folder: Path, subject: str, *words: str) -> int:
    return main(["drain", subject, "--reason", "disk", "--by", "ana", *words, "-C", str(folder)])


def test_a_backend_is_drained_and_taken_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    assert drain(folder, "backend/web/a1") == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "drain backend/web/a1, by ana: disk",
        "  changes no answer now",
        "  web/a1 (10.1.0.11) takes no new flows; it keeps its own for 5 min",
        "    in us-east new flows go to a2",
    ]
    assert main(["overrides", "--json", "-C", str(folder)]) == 0
    (standing,) = json.loads(capsys.readouterr().out)["overrides"]
    assert standing["subject"] == "backend/web/a1"
    assert main(["undrain", "backend/web/a1", "-C", str(folder)]) == 0
    assert "take back drain backend/web/a1" in capsys.readouterr().out


def test_the_last_backend_of_a_region_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    assert drain(folder, "backend/web/a2") == 0
    capsys.readouterr()
    assert drain(folder, "backend/web/a1", "--json") == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["guard"] == "last-backend"
    assert "web in us-east would have no backend left" in error["message"]
    assert drain(folder, "backend/web/b1", "--dry-run") == 3
    assert "web in eu-west would have no backend left" in capsys.readouterr().err
    assert drain(folder, "backend/web/a1", "--force", "--json") == 0
    (gone,) = json.loads(capsys.readouterr().out)["backends"]
    assert gone == {
        "service": "web",
        "backend": "a1",
        "address": "10.1.0.11",
        "drain_s": 300,
        "left": [{"region": "us-east", "backends": []}],
    }


def test_where_nobody_balances_nothing_is_guarded(tmp_path: Path) -> None:
    head = DATAPLANE.partition("instances:")[0]
    assert drain(write(tmp_path, head), "backend/web/b1", "--dry-run") == 0


def test_one_for_all_regions_leaves_each_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DATAPLANE.replace("b1: {address: 10.2.0.11, region: eu-west}", "b1: 10.2.0.11")
    assert drain(write(tmp_path, text), "backend/web/b1", "--force", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "    in us-east new flows go to a1, a2",
        "    in eu-west new flows go to nobody",
    ]


def test_backends_exist_or_are_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    deployment = load(folder)
    assert str(subject_of("backend/web/a1", deployment)) == "backend/web/a1"
    with pytest.raises(AskedError) as caught:
        subject_of("backend/web/a9", deployment)
    assert "backend/web/a1" in caught.value.known
    assert main(["force", "down", "backend/web/a1", "--reason", "x", "-C", str(folder)]) == 2
    assert "backend/web/a1: a backend can be drained, not forced" in capsys.readouterr().err


def test_a_service_that_is_called_as_a_region_takes_nothing_of_it() -> None:
    subject = Subject(kind="backend", name="us-east/a1")
    order = Override(subject=subject, action=Action.DRAIN, owner="ana", reason="disk", since_s=0.0)
    assert orders_on((order,), "us-east") == ()
