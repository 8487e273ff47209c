from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gtm.config.deployment import load
from gtm.config.starter import init
from gtm.model.errors import ConfigError, Refused


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_checks_out(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deployment"
    paths = init(folder)
    assert {str(path.relative_to(folder)) for path in paths} == set(tree(folder))
    assert set(tree(folder)) == {
        "gtm.yaml",
        "geodata/regions.yaml",
        "probes/checks.yaml",
        "zones/lb.example.org.zone",
        "zones/lb.example.org.yaml",
    }
    found = load(folder)
    assert [name.owner for name in found.names] == ["www.lb.example.org."]
    assert found.expectations
    assert found.targets()


def test_a_folder_with_other_things_keeps_them(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes").write_text("mine")
    init(tmp_path)
    assert load(tmp_path).names
    assert (tmp_path / "notes").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".git",
        "geodata",
        "gtm.yaml",
        "notes",
        "probes",
        "zones",
    ]


@pytest.mark.parametrize("name", ["gtm.yaml", "zones", "geodata", "probes"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match=name) as raised:
        init(tmp_path)
    assert raised.value.guard == "overwrite"
    assert tree(tmp_path) == {name: "mine"}


def test_a_link_to_nothing_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "gtm.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        init(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_time_is_refused(tmp_path: Path) -> None:
    init(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(Refused):
        init(tmp_path)
    assert tree(tmp_path) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused):
        init(tmp_path / "file")
    with pytest.raises(ConfigError):
        init(tmp_path / "file" / "below")


def test_nothing_stays_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(ConfigError, match="No space left"):
        init(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_in_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "zones":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError):
        init(tmp_path)
    assert tree(tmp_path) == {"notes": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
