"""What all speakers tell each other, read once from the shared store: for commands, which are no part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError

if TYPE_CHECKING:
    from gtm.wire.announcing import Leaving, Telling

TOTAL_S = 3.0
TRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pops:
    """The speakers whose leases stand, by node, and the permits to leave, by service; or why they are not known."""

    speakers: Mapping[str, Telling] = field(default_factory=dict)
    permits: Mapping[str, Leaving] = field(default_factory=dict)
    problem: str | None = None


def read_pops(cluster: Cluster | None, folder: Path) -> Pops:
    """What speakers tell, within some three seconds."""
    if cluster is None:
        return Pops(problem="no shared store: what other PoPs announce is not known here")
    try:
        return asyncio.run(_read(cluster, folder))
    except StoreError as error:
        return Pops(problem=str(error))


async def _read(cluster: Cluster, folder: Path) -> Pops:
    from gtm.store.announcing_view import Picture
    from gtm.store.etcd.client import Client
    from gtm.store.etcd.layout import Layout
    from gtm.wire import etcd

    layout = Layout(prefix=cluster.prefix)
    client = Client(cluster, folder, try_s=TRY_S)
    try:
        key, end = layout.announcing
        found = await client.range(etcd.Range(key=key, range_end=end), total_s=TOTAL_S)
    finally:
        await client.close()
    picture = Picture(layout)
    picture.replace(found, now_s=0.0)
    return Pops(
        speakers={node: heard.telling for node, heard in sorted(picture.speakers.items())},
        permits={service: permit.leaving for service, permit in sorted(picture.permits.items())},
        problem="; ".join(picture.faults.values()) or None,
    )
