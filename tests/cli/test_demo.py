"""Where `gtm demo` runs: in the repository's folder or the one given, never inside an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtm.app import demo, reference
from tests.cli.small import write


def test_an_installed_reference_deployment_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gtm"
    folder = write(package / "reference")
    monkeypatch.setattr(reference, "_PACKAGE", package)
    before = sorted(folder.rglob("*"))
    with demo._deployment(None) as place:
        assert (place / "zones" / "example.test.yaml").read_text() == (
            folder / "zones" / "example.test.yaml"
        ).read_text()
        assert not place.is_relative_to(package)
        (place / "state").mkdir()
    assert not place.exists()
    assert sorted(folder.rglob("*")) == before


def test_other_folders_are_used_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "checkout")
    monkeypatch.setattr(reference, "_PACKAGE", folder / "gtm")
    for given in (None, folder):
        with demo._deployment(given) as place:
            assert place == folder
