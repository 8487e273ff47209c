"""How an etcd is spoken to: TLS, and the user's password, from files of the deployment."""

from __future__ import annotations

import ssl
from pathlib import Path

from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError


def tls_of(cluster: Cluster, folder: Path) -> ssl.SSLContext:
    """The TLS context for a cluster's endpoints; its files are relative to `folder`. Raises StoreError."""
    try:
        ca_file = None if cluster.ca_file is None else str(folder / cluster.ca_file)
        context = ssl.create_default_context(cafile=ca_file)
        if cluster.cert_file is not None and cluster.key_file is not None:
            # Without a password of its own a key that has one would be asked for on the terminal.
            context.load_cert_chain(folder / cluster.cert_file, folder / cluster.key_file, password=_none)
    except ssl.SSLError as error:
        files = ", ".join(filter(None, (cluster.ca_file, cluster.cert_file, cluster.key_file)))
        raise StoreError(f"etcd: {files}: no PEM files that can be used: {error.reason or error}") from error
    except OSError as error:
        raise StoreError(f"etcd: {error.filename or 'a PEM file'}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise StoreError(f"etcd: {cluster.key_file}: {error}") from error
    return context


def _none() -> str:
    raise ValueError("is locked with a password; gtm needs one without")


def password_of(cluster: Cluster, folder: Path) -> str:
    """The password of the cluster's user: the file's first line. Raises StoreError."""
    if cluster.password_file is None:
        return ""
    try:
        text = (folder / cluster.password_file).read_text("utf-8")
    except OSError as error:
        raise StoreError(f"etcd: {cluster.password_file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"etcd: {cluster.password_file}: is not UTF-8 text") from error
    lines = text.splitlines()
    return lines[0] if lines else ""
