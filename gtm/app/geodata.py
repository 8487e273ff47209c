"""`gtm geodata`: where an address is, what is in a database, and putting another database in place while serving."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from gtm.app.await_revision import Applied, await_revision, facts_now
from gtm.app.explain_text import place_text
from gtm.app.folders import state_folder
from gtm.app.question import client_of, near
from gtm.app.scene import scene_of_folder
from gtm.app.whereabouts import whereabouts
from gtm.config.deployment import load
from gtm.geo.check import DatabaseReport, check_database
from gtm.model.errors import AskedError, GtmError
from gtm.model.place import Place
from gtm.web.document import as_object

WAIT_S = 120.0  # a node takes some 15 s to compile classes of a city database of 60 MB, longer where it is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Where a client is; class and scope are None for a country or a subdivision."""

    client: str
    place: Place
    place_from: str
    class_id: int | None
    scope: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is in a database file."""

    file: str
    database_type: str
    layout: str
    built_s: int
    age_s: float
    size_bytes: int
    networks4: int
    networks6: int
    countries: int
    subdivisions: int
    asns: int
    text: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """A database put in place: `file` in the deployment, what it replaced, and what the node made of it."""

    file: str
    changed: bool
    previous: str | None
    database: Checked
    applied: Applied


def document_of(value: Shown | Checked | Updated) -> dict[str, object]:
    """Any of them as JSON."""
    return as_object(value)


def show(folder: Path, text: str) -> Shown:
    """Where a client is. Raises AskedError, ConfigErrors, StoreError."""
    scene = scene_of_folder(folder)
    found = whereabouts(scene, client_of(text))
    return Shown(
        client=text,
        place=found.place,
        place_from=found.origin,
        class_id=None if found.located is None else found.located.class_,
        scope=None if found.located is None else found.located.scope,
        notes=(*scene.notes, *found.notes),
    )


def shown_text(shown: Shown) -> str:
    """Where a client is, in a few lines."""
    lines = [f"{shown.client}: {place_text(shown.place)}, from {shown.place_from}"]
    if shown.class_id is not None:
        lines.append(f"class {shown.class_id}, ECS scope /{shown.scope}")
    return "\n".join([*lines, *(f"note: {note}" for note in shown.notes)])


def check(file: Path) -> Checked:
    """What is in a database. Raises ConfigError where it cannot be used."""
    return checked(check_database(file, now_s=time.time()))


def checked(report: DatabaseReport) -> Checked:
    """A report's facts."""
    about = report.about
    return Checked(
        file=about.file,
        database_type=about.database_type,
        layout=str(about.layout),
        built_s=about.build_epoch_s,
        age_s=report.age_s,
        size_bytes=report.size_bytes,
        networks4=about.networks4,
        networks6=about.networks6,
        countries=about.countries,
        subdivisions=about.subdivisions,
        asns=about.asns,
        text=report.lines(),
    )


def checked_text(one: Checked) -> str:
    """What is in a database, in a few lines."""
    return "\n".join(one.text)


def update(folder: Path, file: Path, *, name: str | None = None) -> Updated:
    """Check a database and put it in place of the deployment's.

    `name` says which of several it replaces, or what a new one is called. Raises ConfigError where it cannot be used,
    AskedError where it is not clear what it replaces, GtmError where it cannot be written.
    """
    target = _target(folder, file, name)
    about = check(file)
    state = state_folder(folder)
    if target.exists() and (target.samefile(file) or cmp(file, target, shallow=False)):
        return Updated(file=str(target), changed=False, previous=None, database=about, applied=_unchanged(state))
    before = facts_now(state)
    previous = _swap(file, target)
    applied = await_revision(state, before, WAIT_S, heed_problem=True)
    return Updated(
        file=str(target),
        changed=True,
        previous=None if previous is None else str(previous),
        database=about,
        applied=applied,
    )


def _unchanged(state: Path) -> Applied:
    facts = facts_now(state)
    return Applied(revision=None if facts is None else facts.revision)


def _target(folder: Path, file: Path, name: str | None) -> Path:
    """The file of the deployment that the database becomes."""
    databases = load(folder).node.geo
    known = [Path(one).name for one in databases]
    if name is not None and (name in {"", ".", ".."} or "/" in name or not name.endswith(".mmdb")):
        raise AskedError(
            f"{name[:64]!r} is not a file name that ends with .mmdb", argument="--as", known=near(name, known)
        )
    if name is None and len(databases) > 1:
        raise AskedError("the deployment has several databases; say which it replaces", argument="--as", known=known)
    if name is None:
        return folder / databases[0] if databases else folder / "geodata" / file.name
    return next((folder / one for one in databases if Path(one).name == name), folder / "geodata" / name)


def _swap(file: Path, target: Path) -> Path | None:
    """Put a copy in place at once, keeping what was there as NAME.previous, which is returned."""
    previous = target.with_name(target.name + ".previous")
    replaces = target.exists()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", suffix=".new", delete=False) as made:
            staged = Path(made.name)
            try:
                with file.open("rb") as source:
                    shutil.copyfileobj(source, made)
                made.flush()
                os.fsync(made.fileno())
                staged.chmod(target.stat().st_mode & 0o777 if replaces else 0o644)
                if replaces:
                    previous.unlink(missing_ok=True)
                    previous.hardlink_to(target)
                staged.replace(target)
            except OSError:
                staged.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise GtmError(f"{target}: {error.strerror}") from error
    return previous if replaces else None


def updated_text(updated: Updated) -> str:
    """What was done, in a few lines."""
    lines = list(updated.database.text)
    if not updated.changed:
        return "\n".join([*lines, f"{updated.file} is the same already; nothing was changed"])
    kept = "" if updated.previous is None else f"; what it replaced is {updated.previous}"
    return "\n".join([*lines, f"{updated.file} is in place{kept}", updated.applied.text()])
