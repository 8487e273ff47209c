"""A bundle: all that follows from the deployment folder, checked and compiled, before any of it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gtm.answer.authority import Authority
from gtm.answer.compile import Layout, layout
from gtm.app.geography import Geography, classes_file, classes_of, read_geography
from gtm.config.deployment import load
from gtm.decide.plan import Dependents
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.errors import ConfigError, ConfigErrors
from gtm.wire import name as wire_name
from gtm.zone.load import Loaded, load_zones

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One deployment, ready to be decided over and published. `warnings` are what a strict eye would change."""

    deployment: Deployment
    zones: Loaded
    geography: Geography
    authority: Authority
    classes: ClassTable
    classes_file: Path
    layout: Layout
    dependents: Dependents
    warnings: tuple[str, ...]


def build(folder: Path, cache: Path, earlier: Bundle | None = None) -> Bundle:
    """The bundle of a deployment folder; zones of `earlier` whose files did not change are taken over.

    `cache` is a folder for what is costly to work out. Raises ConfigErrors with every fault of every part.
    """
    deployment = load(folder)
    faults: list[ConfigError] = []
    previous = None if earlier is None else earlier.zones
    zones = _collect(faults, lambda: load_zones(deployment.zone_files, folder=str(folder / "zones"), previous=previous))
    geography = _collect(faults, lambda: read_geography(folder, deployment))
    classes = None if geography is None else _collect(faults, lambda: classes_of(geography, deployment, cache))
    if zones is None or geography is None or classes is None:
        raise ConfigErrors(faults)
    lay = layout(deployment, classes.loci)
    authority = Authority.build(zones.zones, lay.index)
    faults.extend(misplaced(authority, deployment))
    if faults:
        raise ConfigErrors(faults)
    return Bundle(
        deployment=deployment,
        zones=zones,
        geography=geography,
        authority=authority,
        classes=classes,
        classes_file=classes_file(geography, deployment, cache),
        layout=lay,
        dependents=Dependents.of(deployment),
        warnings=tuple(str(doubt) for doubt in zones.doubts),
    )


def misplaced(authority: Authority, deployment: Deployment) -> list[ConfigError]:
    """A fault for each steered name that could never be answered, being below a delegation or an alias (DNAME)."""
    faults = []
    for name in deployment.names:
        owner = wire_name.parse(name.owner).lower()
        zone = authority.zone_for(owner, 1)
        cut = None if zone is None else zone.cut(owner)
        if cut is not None:
            faults.append(
                ConfigError(
                    f"{name.owner} lies at or below {wire_name.render(cut)}, which is delegated or a DNAME",
                    file=f"zones/{name.zone.rstrip('.')}.yaml",
                    key="names",
                    allowed="names that the zone itself answers for",
                )
            )
    return faults


def _collect(faults: list[ConfigError], read: Callable[[], Part]) -> Part | None:
    """What `read` gives, or None with its faults noted."""
    try:
        return read()
    except ConfigErrors as errors:
        faults.extend(errors.errors)
    except ConfigError as error:
        faults.append(error)
    return None
