from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gtm.config.watch import watch_signature
from tests.config.folders import GOOD, write


def replaced(folder: Path) -> None:
    """An editor's way: a new file of the same size and time in the old one's place."""
    path = folder / "gtm.yaml"
    old = path.stat()
    new = folder / "gtm.yaml.new"
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.rename(path)


def touched(folder: Path) -> None:
    os.utime(folder / "zones/lb.example.com.zone", ns=(1, 1))


CHANGES: tuple[Callable[[Path], object], ...] = (
    replaced,
    touched,
    lambda folder: (folder / "gtm.yaml").unlink(),
    lambda folder: write(folder, {"geodata/overrides.csv": "10.0.0.0/8,US"}),
    lambda folder: write(folder, {"geodata/a.mmdb": "x"}),
    lambda folder: write(folder, {"zones/new.example.zone": ""}),
    lambda folder: write(folder, {"zones/parts/hosts.inc": "a"}),
    lambda folder: (folder / "zones/lb.example.com.yaml").rename(folder / "zones/other.example.com.yaml"),
    lambda folder: (folder / "probes/checks.yaml").write_text("checks: {}"),
    lambda folder: (folder / "zones").rename(folder / "elsewhere"),
)


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_every_change_shows(tmp_path: Path, number: int) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    CHANGES[number](tmp_path)
    assert watch_signature(tmp_path) != before


def test_no_change_is_no_change(tmp_path: Path) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    write(tmp_path, {"state/store.db": "x", "zones/.editor.swp": "x", "README.md": "x"})
    assert watch_signature(tmp_path) == before


def test_files_elsewhere_are_watched_when_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "deployment", GOOD)
    elsewhere = tmp_path / "city.mmdb"
    absent = watch_signature(folder, [elsewhere])
    elsewhere.write_text("x")
    assert watch_signature(folder, [elsewhere]) != absent
    assert watch_signature(folder) == watch_signature(folder)


def test_a_linked_file_is_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "deployment", GOOD)
    write(tmp_path, {"real.zone": "a"})
    (folder / "zones/linked.example.zone").symlink_to(tmp_path / "real.zone")
    before = watch_signature(folder)
    write(tmp_path, {"real.zone": "longer"})
    assert watch_signature(folder) != before


def test_it_never_raises(tmp_path: Path) -> None:
    assert watch_signature(tmp_path / "none")
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones/loop").symlink_to(tmp_path / "zones")
    (tmp_path / "zones/self").symlink_to("self")
    (tmp_path / "probes").write_text("no folder")
    assert watch_signature(tmp_path)
