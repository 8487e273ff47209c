"""A digest of a deployment, for nodes to see whether they run the same."""

from __future__ import annotations

from dataclasses import fields
from hashlib import blake2b

from gtm.model.deployment import Deployment

_OWN = frozenset({"node", "zone_files"})  # what may differ from node to node


def deployment_digest(deployment: Deployment, authority: str) -> str:
    """Twelve hexadecimal digits that are equal where everything is but the node itself; `authority` names the zones."""
    parts = [repr(getattr(deployment, each.name)) for each in fields(deployment) if each.name not in _OWN]
    return blake2b("\0".join([authority, *parts]).encode(), digest_size=6).hexdigest()
