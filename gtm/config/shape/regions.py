"""geodata/regions.yaml: the regions, in an order that means something (ties of distance go to the first)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gtm.config.scalars import share
from gtm.config.shape.base import Read, Shape
from gtm.config.shape.node import Label
from gtm.model.region import THRESHOLD_DEFAULT

SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,6})? ?%$"},
    ]
}
Share = Annotated[float, Read(share, **SHARE_SCHEMA)]
OptionalShare = Annotated[float | None, Read(share, **SHARE_SCHEMA)]


class RegionShape(Shape):
    """One region."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, description="Degrees north (WGS 84).")
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, description="Degrees east (WGS 84).")
    share: OptionalShare = Field(
        default=None, description="The share of all traffic that this region is expected to take."
    )
    capacity: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="What it can take, in requests per second."
    )
    threshold: Share = Field(
        default=THRESHOLD_DEFAULT,
        description="The region is down for a pool when its share of healthy instances falls below this.",
        json_schema_extra={"default": f"{THRESHOLD_DEFAULT:.0%}"},
    )


class RegionsFile(Shape):
    """geodata/regions.yaml: the regions by name, in order."""

    regions: dict[Label, RegionShape] = Field(description="Regions by name; the order breaks ties of distance.")
