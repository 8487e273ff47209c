"""What an explanation is made from: a node's tables and facts, or, where none runs, the deployment's files alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from gtm.answer.authority import Authority
from gtm.app.bundle import Bundle, build
from gtm.app.folders import cache_folder, state_folder
from gtm.app.geography import read_geography, space_of
from gtm.app.rtt import FILE as RTT_FILE
from gtm.app.rtt import Kept, read_kept
from gtm.app.view import View, read_view
from gtm.decide.plan import Decision, decide
from gtm.model.address import IPAddress
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.errors import GtmError, StoreError
from gtm.model.place import Place
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.tables import load, names_of

FROM_FILES = "No node runs here: this is from the files alone, and every instance counts as not yet judged."
ENDED = "No controller runs: health is as it was when the last one ended."


class Places(Protocol):
    """Who is where: the geo databases and overrides."""

    def find(self, address: IPAddress, /) -> tuple[Place, str]:
        """The place of an address and where it is known from."""

    def area(self, code: str, /) -> Place | None:
        """The place that stands for a country or a subdivision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that an answer depends on.

    `numbers` are the steered sets by lower-case wire owner, type and class; `key` is the secret of weighted choices
    (None: not known, so which slot a client has cannot be said); `places` is None where they cannot be read now; `rtt`
    is what the controller kept of round-trip times last.
    """

    deployment: Deployment
    decision: Decision
    authority: Authority
    numbers: Mapping[bytes, int]
    classes: ClassTable
    places: Places | None
    key: int | None
    live: bool
    notes: tuple[str, ...] = ()
    rtt: Kept | None = None


def scene_of_folder(folder: Path) -> Scene:
    """The scene of a deployment folder: its node's, where one has published, else that of its files."""
    state = state_folder(folder)
    if (state / TABLES / MANIFEST).exists():
        return scene_of_state(state)
    return scene_of_files(folder, state)


def scene_of_state(state: Path) -> Scene:
    """The scene of a node, running or not. Raises StoreError where nothing has been published."""
    view = read_view(state)
    scene = scene_of_view(view)
    if view.controller_pid is None:
        return replace(scene, notes=(*scene.notes, ENDED))
    return scene


def scene_of_view(view: View) -> Scene:
    """The scene of a node's tables and what its controller wrote down last. Raises StoreError."""
    table = load(view.state).table
    places, notes = _places(view)
    try:
        rtt = read_kept(view.state / RTT_FILE) if view.deployment.rtt is not None else None
    except StoreError as error:
        rtt, notes = None, (*notes, f"What is known of round-trip times cannot be read: {error}")
    return Scene(
        deployment=view.deployment,
        decision=view.decision,
        authority=table.authority,
        numbers=table.names,
        classes=table.classes,
        places=places,
        key=view.manifest.key,
        live=True,
        notes=notes,
        rtt=rtt,
    )


def _places(view: View) -> tuple[Places | None, tuple[str, ...]]:
    """The places of a view's deployment. An unreadable edit does not keep us from explaining what is served."""
    try:
        geography = read_geography(Path(view.facts.folder), view.deployment)
        return space_of(geography, cache_folder(view.state)), ()
    except GtmError as error:
        return None, (f"Places are those of the class table, because geodata cannot be read: {error}",)


def scene_of_files(folder: Path, state: Path) -> Scene:
    """The scene of a deployment folder as though nothing had been probed. Raises ConfigErrors."""
    return scene_of_bundle(build(folder, cache_folder(state)), cache_folder(state))


def scene_of_bundle(bundle: Bundle, cache: Path) -> Scene:
    """The scene of checked files: every instance not yet judged, nothing ordered."""
    snapshot = Snapshot(revision=0, now_s=time.time(), deployment=bundle.deployment, judgements={})
    return Scene(
        deployment=bundle.deployment,
        decision=decide(snapshot),
        authority=bundle.authority,
        numbers=names_of(bundle.layout.index),
        classes=bundle.classes,
        places=space_of(bundle.geography, cache),
        key=None,
        live=False,
        notes=(FROM_FILES,),
    )
