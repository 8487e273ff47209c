"""geodata/regions.yaml -> regions, in file order."""

from __future__ import annotations

from collections.abc import Iterable

from gtm.config.document import Document, Step
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.regions import RegionsFile
from gtm.model.place import Coordinates
from gtm.model.region import Region

RESERVED = ("nearest", "rtt", "check", "threshold")  # words that stand beside region names in steering files
SHARES_SLACK = 0.01  # rounded percentages may miss 100 % by this much


def build_regions(document: Document | None) -> dict[str, Region]:
    """The regions by name."""
    found = document.validate(RegionsFile) if document is not None else None
    if document is None or found is None:
        return {}
    for name in found.regions:
        if name in RESERVED:
            document.fault(("regions", name), f"{name} cannot name a region", f"any name but {', '.join(RESERVED)}")
    if document.intact("regions"):
        _check_shares(document, [region.share for region in found.regions.values()])
    return {
        name: Region(
            name=name,
            coordinates=Coordinates(latitude=shape.latitude, longitude=shape.longitude),
            share=shape.share,
            capacity=shape.capacity,
            threshold=shape.threshold,
        )
        for name, shape in found.regions.items()
    }


def _check_shares(document: Document, shares: list[float | None]) -> None:
    known = [share for share in shares if share is not None]
    total = sum(known)
    if total > 1 + SHARES_SLACK:
        document.fault(("regions",), f"the shares sum to {total:.1%}", "at most 100% in all")
    elif known and len(known) == len(shares) and total < 1 - SHARES_SLACK:
        document.fault(("regions",), f"the shares sum to {total:.1%}", "100% in all, or leave some out")


def unknown_region(document: Document, steps: tuple[Step, ...], name: str, regions: Iterable[str]) -> None:
    """Records that a region is named which regions.yaml does not have."""
    known = tuple(regions)
    document.fault(
        steps,
        f"there is no region {name[:64]}{did_you_mean(name, known)}",
        listed(known) or "none: geodata/regions.yaml defines no regions",
    )
