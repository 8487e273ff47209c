"""bgp/anycast.yaml: treatments, providers' dictionaries, the ladder, the guard and leases."""

from __future__ import annotations

from pathlib import Path

from gtm.config.communities import gathered
from gtm.config.document import Document
from gtm.config.shape.bgp import AnycastFile, DampingShape, GuardShape, RungShape, TreatmentShape
from gtm.model.anycast import (
    LADDER_DEFAULT,
    Allowed,
    Damping,
    ExitPolicy,
    Guard,
    Lease,
    Provider,
    RpkiMode,
    Rung,
    Treatment,
    WithoutStore,
)


def build_treatment(shape: TreatmentShape) -> Treatment:
    """The treatment as it is written."""
    return Treatment(
        med=shape.med,
        prepend=shape.prepend,
        local_pref=shape.local_pref,
        communities=gathered(shape.communities),
        words=tuple(dict.fromkeys(shape.words)),
        bandwidth=shape.bandwidth,
    )


def build_providers(found: AnycastFile) -> dict[str, Provider]:
    """The providers by name."""
    return {
        name: Provider(
            name=name,
            words={word: gathered(each.communities) for word, each in shape.words.items()},
            notes={word: each.note for word, each in shape.words.items() if each.note is not None},
        )
        for name, shape in found.providers.items()
    }


def build_ladder(document: Document, found: AnycastFile) -> tuple[Rung, ...]:
    """The rungs; the six usual ones where the file has none."""
    if found.ladder is None:
        return LADDER_DEFAULT
    rungs: list[Rung] = []
    for position, shape in enumerate(found.ladder):
        _check_rung(document, position, shape, rungs)
        last = rungs[-1] if rungs else Rung(name="")
        rungs.append(
            Rung(
                name=shape.name,
                treatment=build_treatment(shape),
                announce=last.announce and shape.announce is not False,
                address=last.address and shape.address is not False,
                hold_s=shape.hold or 0.0,
                connections=shape.connections,
                deadline_s=shape.deadline,
            )
        )
    return tuple(rungs)


def _check_rung(document: Document, position: int, shape: RungShape, above: list[Rung]) -> None:
    """A name of its own, an end, and the order: first withdraw, then wait, then take the address away."""
    place = ("ladder", position)
    last = above[-1] if above else Rung(name="")
    if shape.name in {rung.name for rung in above}:
        document.fault((*place, "name"), f"there is a rung {shape.name} already", "a name of its own")
    if shape.announce is True and not last.announce:
        document.fault((*place, "announce"), "a rung above has withdrawn already", "no such key from there on")
    if shape.address is True and not last.address:
        document.fault((*place, "address"), "a rung above has taken the address away", "no such key from there on")
    if shape.address is False and last.announce and document.intact("ladder"):
        words = "takes the address away from under traffic that is still attracted"
        document.fault((*place, "address"), words, "a rung above with announce: false and some hold")
    written = document.written(*place)
    if "connections" in written and "deadline" not in written:
        document.fault((*place, "connections"), "might never be so few", "a deadline beside it")
    if "deadline" in written and "connections" not in written:
        document.fault((*place, "deadline"), "there is nothing that it ends", "connections beside it, or hold")
    if shape.deadline is not None and shape.deadline < (shape.hold or 0.0):
        document.fault((*place, "deadline"), "is over before hold is", f"{shape.hold:g}s or more")


def build_guard(document: Document, shape: GuardShape, folder: Path) -> Guard:
    """The guard; files are looked for in the folder, when they are read: none must be there."""
    if shape.rpki != "off" and "vrps" not in document.written("guard"):
        document.fault(("guard", "rpki"), "nothing says what is valid", "vrps: FILE beside it, or off")
    return Guard(
        leave_window_s=shape.leave_window,
        without_store=WithoutStore(shape.without_store),
        damping=_damping(document, shape.damping),
        allowed=tuple(Allowed(prefix=prefix, length_max=longest) for prefix, longest in shape.allowed)
        if "allowed" in shape.model_fields_set
        else None,
        rpki=RpkiMode(shape.rpki),
        vrps=None if shape.vrps is None else str(folder / shape.vrps),
        vrps_age_max_s=shape.vrps_age_max,
    )


def _damping(document: Document, shape: DampingShape) -> Damping | None:
    if shape.reuse >= shape.suppress and document.intact("guard", "damping"):
        document.fault(("guard", "damping", "reuse"), f"{shape.reuse:g} is not below suppress", "less than suppress")
    if not shape.enabled:
        return None
    return Damping(half_life_s=shape.half_life, suppress=shape.suppress, reuse=shape.reuse, max_s=shape.max)


def build_lease(found: AnycastFile) -> Lease:
    """How long announcements live."""
    return Lease(ttl_s=found.lease.ttl, controller_s=found.lease.controller, exit=ExitPolicy(found.lease.exit))
