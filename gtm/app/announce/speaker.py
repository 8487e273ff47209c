"""Which speaker of a deployment is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gtm.config.deployment import ANYCAST_FILE, load
from gtm.config.nearby import did_you_mean, listed
from gtm.model.anycast import Anycast, Speaker
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcing:
    """A deployment that announces, and one of its speakers."""

    deployment: Deployment
    anycast: Anycast
    speaker: Speaker


def find_speaker(folder: Path, node: str | None = None) -> Announcing:
    """The speaker by node, without one this node's. Raises ConfigErrors, AskedError, GtmError where there is none."""
    deployment = load(folder)
    anycast = deployment.anycast
    if anycast is None:
        raise GtmError(f"{folder / ANYCAST_FILE}: there is no such file, so nothing is announced")
    speaker = anycast.speakers.get(deployment.node.name if node is None else node)
    if speaker is not None:
        return Announcing(deployment=deployment, anycast=anycast, speaker=speaker)
    known = listed(anycast.speakers) or "none"
    if node is None:
        name = deployment.node.name
        raise GtmError(
            f"{folder / ANYCAST_FILE}: {name}, which gtm.yaml says this node is, is no speaker (speakers: {known}); "
            "--node NAME means another one"
        )
    hint = did_you_mean(node, anycast.speakers)
    raise AskedError(f"there is no speaker {node}{hint} (speakers: {known})", argument="--node")
