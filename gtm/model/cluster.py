"""The nodes that share one store, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An etcd cluster (3.4 or newer) that nodes share: its client URLs, and the prefix that all keys begin with.

    The files are PEM, relative to the deployment folder or absolute; `password_file` holds the password of `user`. A
    node that has not been heard of for `lease_s` is gone.
    """

    endpoints: tuple[str, ...]
    prefix: str = "/gtm"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    user: str | None = None
    password_file: str | None = None
    lease_s: float = LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """A node of the cluster, this one among them, as this one knows it.

    `heard_s_ago`: seconds since it was heard of last; `fresh`: that is not too long ago, so its votes count, unless it
    is `cut_off`: then it sees almost everything down. `targets` is how many it judges, `down` how many of them it calls
    DOWN. `deployment` is a digest of the deployment that it runs, None if it has not said.
    """

    name: str
    region: str | None
    deployment: str | None
    heard_s_ago: float
    fresh: bool
    cut_off: bool
    targets: int
    down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """What this node knows of the cluster: of its store, when it last reached it, and of its nodes.

    `age_s`: seconds since the store was last heard of, None for never; `problem` is why it cannot be reached, where it
    cannot.
    """

    connected: bool
    age_s: float | None
    revision: int
    problem: str | None
    nodes: tuple[PeerState, ...]
