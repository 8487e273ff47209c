"""This node: who it is and where it listens."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.address import Endpoint
from gtm.model.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server says of itself: NSID (RFC 5001), id.server and version.bind (RFC 4892); None: it does not say."""

    nsid: str | None = None
    id_server: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One gtm node: name, region (None: nowhere in particular), addresses, and how it runs.

    `workers` 0 means one per core. `user` is the account that workers drop to after binding, if they start as root.
    `state` is the state folder and `geo` the database files, both relative to the deployment folder or absolute.
    `cluster` is the store that this node shares with others (None: it is alone). `push_token_file` holds the word that
    whoever pushes results to the API must know (None: nothing can be pushed).
    """

    name: str
    region: str | None = None
    listen: tuple[Endpoint, ...] = ()
    api: Endpoint | None = None
    state: str = "state"
    geo: tuple[str, ...] = ()
    workers: int = 0
    user: str | None = None
    identity: Identity = Identity()
    cluster: Cluster | None = None
    push_token_file: str | None = None
