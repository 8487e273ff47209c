"""A deployment of one's own to start from: what `gtm init DIR` writes."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from gtm.model.errors import ConfigError, Refused


def init(folder: Path) -> tuple[Path, ...]:
    """The files written into `folder`, which is made if need be: a small commented deployment that checks out.

    All or nothing: files are written aside and then moved into place, and moved back out if that fails.
    Raises Refused if anything of the template's names is there already, ConfigError if the folder cannot be written.
    """
    with as_file(files("gtm.config") / "template") as template:
        entries = sorted(path.name for path in template.iterdir())
        made: list[Path] = []
        try:
            _refuse(folder, entries)
            made = _missing(folder)
            folder.mkdir(parents=True, exist_ok=True)
            _place(template, folder, entries)
        except OSError as error:
            for each in made:
                if each.is_dir() and not any(each.iterdir()):
                    each.rmdir()
            message = f"cannot be written: {error.strerror or error}"
            raise ConfigError(message, file=str(folder), allowed="a folder that can be written") from error
        return tuple(sorted(folder / path.relative_to(template) for path in template.rglob("*") if path.is_file()))


def _refuse(folder: Path, entries: list[str]) -> None:
    """Raises Refused rather than touch what is there."""
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise Refused(f"{folder} is not a folder", guard="overwrite")
        there = [name for name in entries if (folder / name).exists() or (folder / name).is_symlink()]
        if there:
            raise Refused(f"{folder} has {', '.join(there)} already", guard="overwrite")


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist yet, innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _place(template: Path, folder: Path, entries: list[str]) -> None:
    """Copies the template beside its place and renames it in, entry by entry; takes back what it did on failure."""
    moved: list[Path] = []
    with tempfile.TemporaryDirectory(prefix=".gtm-init-", dir=folder) as aside:
        staged = Path(aside) / "new"
        shutil.copytree(template, staged, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            for name in entries:
                (staged / name).rename(folder / name)
                moved.append(folder / name)
        except OSError:
            for path in moved:
                path.rename(staged / path.name)
            raise
