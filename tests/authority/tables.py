"""Answer tables over zone folders, with nothing steered."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

from gtm.answer.authority import Authority
from gtm.answer.table import AnswerTable, SteeredSet
from gtm.model.classes import ClassTable
from gtm.model.node import Identity
from gtm.model.place import Locus
from gtm.model.zone import Zone
from gtm.zone.load import load_zones, zone_name


def zones_in(folder: Path) -> tuple[Zone, ...]:
    """The zones of every master file in a folder."""
    return load_zones({zone_name(path.name) or "": str(path) for path in sorted(folder.glob("*.zone"))}).zones


def classes_of_two() -> ClassTable:
    """Clients of 0.0.0.0/1 and ::/1 are class 0, all others class 1; scopes are /1."""
    return ClassTable(
        key="two",
        leaves24=array("H", bytes(1 << 24) + b"\1\0" * (1 << 23)),
        pages=array("H"),
        leaves=((0, 1), (1, 1)),
        starts6=array("Q", (0, 1 << 63)),
        leaves6=array("H", (0, 1)),
        loci=(Locus(), Locus()),
    )


def table_of(
    zones: Iterable[Zone],
    *,
    steered: dict[bytes, dict[int, int]] | None = None,
    sets: tuple[SteeredSet, ...] = (),
    classes: ClassTable | None = None,
    identity: Identity | None = None,
) -> AnswerTable:
    """A table that answers from these zones."""
    nowhere = ClassTable(key="none", leaves24=(), pages=(), leaves=(), starts6=(), leaves6=(), loci=())
    return AnswerTable(
        revision=1,
        key=1,
        authority=Authority.build(zones, steered or {}),
        names={},
        sets=sets,
        classes=classes or nowhere,
        identity=identity or Identity(),
        static={},
    )
