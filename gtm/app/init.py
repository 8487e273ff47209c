"""`gtm init`: a new deployment folder, with the bundled geo database where there is one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from gtm.app.reference import reference_folder
from gtm.config import starter
from gtm.model.errors import GtmError
from gtm.web.document import as_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the folder, its files, and the geo database copied into it (None: there was none to copy)."""

    folder: str
    files: tuple[str, ...]
    database: str | None


def init(folder: Path) -> Written:
    """Write a deployment into a folder. Raises Refused if that would overwrite anything, GtmError if it cannot."""
    files = list(starter.init(folder))
    database = _copy_database(folder / "geodata")
    return Written(
        folder=str(folder),
        files=tuple(str(path) for path in sorted({*files, *database})),
        database=next((path.name for path in database if path.suffix == ".mmdb"), None),
    )


def _copy_database(into: Path) -> list[Path]:
    """The files copied: the reference deployment's databases, and the licences that stand beside them."""
    reference = reference_folder()
    copied: list[Path] = []
    for source in () if reference is None else sorted((reference / "geodata").glob("[!.]*")):
        if source.suffix in {".mmdb", ".txt", ".md"} and source.is_file() and not (into / source.name).exists():
            try:
                into.mkdir(exist_ok=True)
                shutil.copyfile(source, into / source.name)
            except OSError as error:
                raise GtmError(f"{into / source.name}: {error.strerror}") from error
            copied.append(into / source.name)
    return copied


def init_document(written: Written) -> dict[str, object]:
    """What was written, as JSON."""
    return as_object(written)


def init_text(written: Written) -> str:
    """What was written, and what to do with it."""
    lines = [f"wrote {name}" for name in written.files]
    if written.database is None:
        lines += ["", "There is no geo database yet: put an MMDB file into geodata/, or every client is nowhere."]
    lines += ["", "next:", f"  gtm check -C {written.folder}", f"  gtm serve -C {written.folder}"]
    return "\n".join(lines)
