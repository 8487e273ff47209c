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
