"""A bundle: all that follows from the deployment folder, checked and compiled, before any of it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gtm.answer.authority import Authority
from gtm.answer.compile import Layout, layout
from gtm.app.geography import Geography, classes_of, goes_by_rtt, read_geography, with_asns
from gtm.app.placement import misplaced
from gtm.config.deployment import load
from gtm.decide.plan import Dependents
from gtm.decide.prefer import NO_PREFERENCES, Preferences
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.errors import ConfigError, ConfigErrors
from gtm.zone.load import Loaded, load_zones

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One deployment, ready to be decided over and published. `warnings` are what a strict eye would change.

    `preferences` are the orders by round-trip time that the classes were made with, `notes` what was left out of them.
    """

    deployment: Deployment
    zones: Loaded
    geography: Geography
    authority: Authority
    classes: ClassTable
    classes_file: Path
    layout: Layout
    dependents: Dependents
    warnings: tuple[str, ...]
    preferences: Preferences = NO_PREFERENCES
    notes: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> tuple[Path, ...]:
        """The databases that stand outside the deployment folder's own geodata/."""
        return tuple(path for path in self.geography.databases if path.parent.name != "geodata")


def build(
    folder: Path, cache: Path, earlier: Bundle | None = None, *, preferences: Preferences = NO_PREFERENCES
) -> Bundle:
    """The bundle of a deployment folder; zones of `earlier` whose files did not change are taken over.

    `cache` is a folder for what is costly to work out. Raises ConfigErrors with every fault of every part.
    """
    deployment = load(folder)
    faults: list[ConfigError] = []
    previous = None if earlier is None else earlier.zones
    zones = _collect(faults, lambda: load_zones(deployment.zone_files, folder=str(folder / "zones"), previous=previous))
    geography = _collect(faults, lambda: read_geography(folder, deployment, preferences))
    classes = (
        None if geography is None else _collect(faults, lambda: classes_of(geography, deployment, cache, preferences))
    )
    if zones is None or geography is None or classes is None:
        raise ConfigErrors(faults)
    lay = layout(deployment, classes.table.loci)
    authority = Authority.build(zones.zones, lay.index)
    faults.extend(misplaced(authority, deployment, lay, zones))
    if faults:
        raise ConfigErrors(faults)
    return Bundle(
        deployment=deployment,
        zones=zones,
        geography=geography,
        authority=authority,
        classes=classes.table,
        classes_file=classes.file,
        layout=lay,
        dependents=Dependents.of(deployment),
        warnings=tuple(str(doubt) for doubt in zones.doubts),
        preferences=preferences,
        notes=classes.notes,
    )


def relocate(bundle: Bundle, preferences: Preferences, cache: Path) -> Bundle:
    """The bundle with other preferences: new classes and layout, all else shared; the same object if nothing differs.

    The layout's index is as it was, and with it the authority: which sets there are does not depend on classes. Does
    no harm to `bundle`, so it may run in a thread. Where an AS number is new, the space is made again, which takes
    longer. Raises ConfigError, ConfigErrors.
    """
    if preferences is bundle.preferences:
        return bundle
    if not goes_by_rtt(bundle.deployment):
        return replace(bundle, preferences=preferences)
    geography = with_asns(bundle.geography, preferences.asns())
    classes = classes_of(geography, bundle.deployment, cache, preferences)
    if classes.file == bundle.classes_file:
        return replace(bundle, preferences=preferences, notes=classes.notes)
    return replace(
        bundle,
        geography=geography,
        classes=classes.table,
        classes_file=classes.file,
        layout=layout(bundle.deployment, classes.table.loci),
        preferences=preferences,
        notes=classes.notes,
    )


def _collect(faults: list[ConfigError], read: Callable[[], Part]) -> Part | None:
    """What `read` gives, or None with its faults noted."""
    try:
        return read()
    except ConfigErrors as errors:
        faults.extend(errors.errors)
    except ConfigError as error:
        faults.append(error)
    return None
