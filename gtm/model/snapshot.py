"""All inputs of the decision at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.health import Judgement
from gtm.model.override import Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is wanted and what the world looks like; `revision` ties it to the Plan made of it."""

    revision: int
    now_s: float
    deployment: Deployment
    judgements: Mapping[Target, Judgement]
    overrides: tuple[Override, ...] = ()
