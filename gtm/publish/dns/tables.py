"""The tables on disk: the controller writes them, each worker puts an AnswerTable together from them.

What changes at different rates stands in different files, so that a health change writes and reads the small one:
classes-KEY.table (geography), authority-DIGEST (zones), deployment-DIGEST (for readers), answers-REVISION (rings).
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any

from gtm.answer.authority import Authority
from gtm.answer.table import AnswerTable, SteeredSet
from gtm.geo import tablefile
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.publish.dns import sealed
from gtm.publish.dns.control import Control
from gtm.publish.dns.manifest import FOLDER, Manifest

_KINDS = frozenset({"authority", "classes", "answers", "deployment"})

Index = Mapping[bytes, Mapping[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The files of one deployment, written but not yet current."""

    authority: str
    classes: str
    deployment: str


class Publisher:
    """The controller's end. Nothing it writes is seen before `publish` replaces the manifest."""

    def __init__(self, state: Path, control: Control, *, key: int) -> None:
        """Publish into a state folder; `key` is the secret of weighted choices."""
        self.folder = state / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._control = control
        self._key = key
        self._current = _current(self.folder)

    def lay(self, deployment: Deployment, authority: Authority, index: Index, classes: Path) -> Base:
        """Write a deployment's files; `classes` is its class table's, which is linked or copied. Raises StoreError."""
        zones = marshal.dumps((authority.dump(), {owner: dict(types) for owner, types in index.items()}))
        table = self.folder / f"classes-{classes.stem}"
        if not table.exists():
            _link(classes, table)
        return Base(
            authority=self._write("authority", zones),
            classes=table.name,
            deployment=self._write("deployment", sealed.freeze(deployment)),
        )

    def _write(self, kind: str, payload: bytes) -> str:
        path = self.folder / f"{kind}-{sealed.digest(payload).hex()}"
        if not path.exists():
            sealed.write(path, kind, payload)
        return path.name

    def publish(
        self, base: Base, deployment: Deployment, revision: int, sets: Sequence[SteeredSet], now_s: float
    ) -> None:
        """Make a revision current: write its answers, replace the manifest, and wake everybody. Raises StoreError."""
        answers = f"answers-{revision}"
        sealed.write(self.folder / answers, "answers", marshal.dumps([tuple(one) for one in sets]))
        manifest = Manifest(
            revision=revision,
            published_at_s=now_s,
            key=self._key,
            authority=base.authority,
            classes=base.classes,
            answers=answers,
            deployment=base.deployment,
            identity=deployment.node.identity,
        )
        manifest.save(self.folder)
        self._control.publish(revision)
        self._prune(keep=(manifest, self._current))
        self._current = manifest

    def _prune(self, keep: tuple[Manifest | None, ...]) -> None:
        """Remove what neither the new nor the previous manifest names; mapped files live on until unmapped."""
        named = {name for manifest in keep if manifest is not None for name in _files(manifest)}
        for path in self.folder.iterdir():
            if path.name.split("-")[0] in _KINDS and path.name not in named:
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A table with the manifest it was made from."""

    manifest: Manifest
    table: AnswerTable


def load(state: Path, earlier: Loaded | None = None) -> Loaded:
    """The current table, sharing with `earlier` what did not change. Raises StoreError; then the earlier one stands."""
    folder = state / FOLDER
    manifest = Manifest.load(folder)
    before = None if earlier is None else earlier.manifest
    if earlier is not None and before is not None and before.authority == manifest.authority:
        authority, names, static = earlier.table.authority, earlier.table.names, earlier.table.static
    else:
        dumped, index = _plain(folder / manifest.authority, "authority")
        authority, names, static = Authority.load(dumped), names_of(index), {}
    if earlier is not None and before is not None and before.classes == manifest.classes:
        classes = earlier.table.classes
    else:
        classes = _classes(folder / manifest.classes)
    sets = tuple(map(SteeredSet._make, _plain(folder / manifest.answers, "answers")))
    table = AnswerTable(
        revision=manifest.revision,
        key=manifest.key,
        authority=authority,
        names=names,
        sets=sets,
        classes=classes,
        identity=manifest.identity,
        static=static,
    )
    return Loaded(manifest=manifest, table=table)


def _link(source: Path, target: Path) -> None:
    """Make the same file stand at `target` as well, as a link where the file system can."""
    try:
        target.hardlink_to(source)
    except OSError:
        try:
            sealed.replace(target, source.read_bytes())
        except OSError as error:
            raise StoreError(f"{source}: {error.strerror}") from error


def _files(manifest: Manifest) -> tuple[str, ...]:
    return (manifest.authority, manifest.classes, manifest.answers, manifest.deployment)


def _current(folder: Path) -> Manifest | None:
    try:
        return Manifest.load(folder)
    except StoreError:
        return None


def load_deployment(state: Path, manifest: Manifest) -> Deployment:
    """The deployment that the current tables were made from. Raises StoreError."""
    value = sealed.thaw(sealed.read(state / FOLDER / manifest.deployment, "deployment"))
    if not isinstance(value, Deployment):
        raise StoreError(f"{manifest.deployment}: holds {type(value).__name__}, not a deployment")
    return value


def names_of(index: Index) -> dict[bytes, int]:
    """The fast path's index: lower-case owner + type + class IN -> set number."""
    return {owner + pack(">HH", rtype, 1): number for owner, types in index.items() for rtype, number in types.items()}


def _classes(path: Path) -> ClassTable:
    try:
        return tablefile.load(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def _plain(path: Path, kind: str) -> Any:  # noqa: ANN401 - marshal gives what was put in
    try:
        return marshal.loads(sealed.read(path, kind))
    except (ValueError, EOFError, TypeError) as error:
        raise StoreError(f"{path}: {error}") from error
