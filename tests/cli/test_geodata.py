"""`gtm geodata` with the bundled database, on a deployment whose node does not run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gtm.app.reference import reference_folder
from gtm.cli.main import main
from tests.cli.small import write


def bundled() -> Path:
    folder = reference_folder()
    assert folder is not None
    return next((folder / "geodata").glob("[!.]*.mmdb"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path / "deployment")


def gtm(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    assert main(["geodata", *arguments, "--json"]) == code
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    told = gtm(capsys, "check", str(bundled()))
    assert told["countries"] > 200  # type: ignore[operator]
    assert main(["geodata", "check", str(bundled())]) == 0
    assert "countries" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a database", bytes(100_000)])
def test_what_is_no_database_is_refused_and_changes_nothing(
    folder: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(content)
    error = gtm(capsys, "update", str(bad), "-C", str(folder), code=1)["error"]
    assert error["kind"] == "config"  # type: ignore[index]
    assert list((folder / "geodata").glob("*mmdb*")) == []
    assert gtm(capsys, "check", str(tmp_path / "none.mmdb"), code=1)["error"]["kind"] == "config"  # type: ignore[index]


def test_a_truncated_copy_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = tmp_path / "half.mmdb"
    raw = bundled().read_bytes()
    half.write_bytes(raw[: len(raw) // 2])
    assert "error" in gtm(capsys, "update", str(half), "-C", str(folder), code=1)


def test_update_puts_it_in_place_and_keeps_what_was_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ("-C", str(folder))
    told = gtm(capsys, "update", str(bundled()), *there)
    placed = folder / "geodata" / bundled().name
    assert (told["file"], told["changed"], told["previous"]) == (str(placed), True, None)
    assert told["applied"]["controller"] is False  # type: ignore[index]
    assert placed.read_bytes() == bundled().read_bytes()
    assert gtm(capsys, "update", str(bundled()), *there)["changed"] is False
    old = placed.read_bytes() + b"\0"
    placed.write_bytes(old)
    assert gtm(capsys, "update", str(bundled()), *there)["previous"] == f"{placed}.previous"
    assert Path(f"{placed}.previous").read_bytes() == old
    assert placed.read_bytes() == bundled().read_bytes()
    assert sorted(path.suffix for path in placed.parent.glob("*mmdb*")) == [".mmdb", ".previous"]


def test_which_of_several_must_be_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mmdb", "b.mmdb"):
        shutil.copyfile(bundled(), folder / "geodata" / name)
    error = gtm(capsys, "update", str(bundled()), "-C", str(folder), code=2)["error"]
    assert error["known"] == ["a.mmdb", "b.mmdb"]  # type: ignore[index]
    for name in ("../a.mmdb", "a", "", ".."):
        assert gtm(capsys, "update", str(bundled()), "--as", name, "-C", str(folder), code=2)["error"]
    told = gtm(capsys, "update", str(bundled()), "--as", "b.mmdb", "-C", str(folder))
    assert told["changed"] is False


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = gtm(capsys, "show", "203.0.113.7", "-C", str(folder))
    assert told["place"]["country"] == "DE"  # type: ignore[index]
    assert str(told["place_from"]).startswith("overrides.csv:")
    assert isinstance(told["scope"], int)
    assert gtm(capsys, "show", "BR", "-C", str(folder))["class_id"] is None
    assert gtm(capsys, "show", "nonsense!", "-C", str(folder), code=2)["error"]
    assert main(["geodata", "show", "198.51.100.7", "-C", str(folder)]) == 0
    assert "US-NY" in capsys.readouterr().out
