"""gtm.yaml -> Node."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from gtm.config.build.regions import unknown_region
from gtm.config.document import Document
from gtm.config.known import Known
from gtm.config.shape.node import EtcdShape, NodeFile
from gtm.config.source import is_file
from gtm.model.cluster import Cluster
from gtm.model.errors import ConfigError
from gtm.model.node import Identity, Node


def build_node(document: Document | None, folder: Path, regions: Known, faults: list[ConfigError]) -> Node:
    """This node; without a file, the defaults. `regions` are those that regions.yaml writes."""
    found = document.validate(NodeFile) if document is not None else None
    shape = found or NodeFile()
    if document is not None and found is not None:
        _check(document, found, folder, regions)
    return Node(
        name=shape.node,
        region=shape.region,
        listen=shape.listen,
        api=shape.api,
        state=shape.state_folder,
        geo=databases(folder, faults) if shape.geo is None else shape.geo,
        workers=shape.workers,
        user=shape.user,
        identity=Identity(nsid=shape.nsid, id_server=shape.id_server, version=shape.version),
        cluster=_cluster(shape.etcd) if shape.state == "etcd" and shape.etcd is not None else None,
        push_token_file=None if shape.push is None else shape.push.token_file,
    )


def databases(folder: Path, faults: list[ConfigError]) -> tuple[str, ...]:
    """The databases that are used when gtm.yaml names none: geodata/*.mmdb by name, relative to the folder."""
    try:
        return tuple(f"geodata/{path.name}" for path in sorted((folder / "geodata").glob("[!.]*.mmdb")))
    except OSError as error:
        faults.append(ConfigError(f"cannot be read: {error.strerror}", file=str(folder / "geodata")))
        return ()


def _check(document: Document, shape: NodeFile, folder: Path, regions: Known) -> None:
    if shape.region is not None and shape.region not in regions:
        unknown_region(document, ("region",), shape.region, regions)
    for position, each in enumerate(shape.listen):
        if each in shape.listen[:position]:
            document.fault(("listen", position), f"{each} is listed twice", "each address and port once")
    if shape.api is not None and shape.api in shape.listen:
        document.fault(("api",), f"{shape.api} is taken by DNS", "a port of its own, or off")
    for position, name in enumerate(shape.geo or ()):
        if name in (shape.geo or ())[:position]:
            document.fault(("geo", position), f"{name} is listed twice", "each file once")
        elif not is_file(folder / name):
            document.fault(("geo", position), f"there is no file {name}", "a file, absolute or relative to the folder")
    if shape.push is not None:
        _check_file(document, ("push", "token_file"), folder, shape.push.token_file, "a file with one word in it")
    _check_store(document, shape)
    if shape.etcd is not None:
        _check_etcd(document, shape.etcd, folder)


def _cluster(shape: EtcdShape) -> Cluster:
    return Cluster(
        endpoints=shape.endpoints,
        prefix=shape.prefix,
        ca_file=shape.ca_file,
        cert_file=shape.cert_file,
        key_file=shape.key_file,
        user=shape.user,
        password_file=shape.password_file,
        lease_s=shape.lease,
    )


def _check_store(document: Document, shape: NodeFile) -> None:
    """Whether the kind of store, its section and this node's name fit together."""
    if shape.state == "etcd":
        if "etcd" not in document.written():
            document.fault(("state",), "etcd is not described", "a section etcd with its endpoints")
        if "node" not in document.written():
            document.fault(("state",), "nodes that share etcd need names", "node: NAME, another on each node")
        if find_spec("httpx") is None:
            document.fault(("state",), "etcd needs httpx, which is not installed", "pip install 'gtm[http]', or sqlite")
    elif shape.etcd is not None and document.intact("state"):
        document.fault(("etcd",), "is not used", "state: etcd beside it, or no such section")


def _check_etcd(document: Document, shape: EtcdShape, folder: Path) -> None:
    for position, url in enumerate(shape.endpoints):
        if url in shape.endpoints[:position]:
            document.fault(("etcd", "endpoints", position), f"{url} is listed twice", "each member once")
    secure = [url.startswith("https:") for url in shape.endpoints]
    if any(secure) and not all(secure):
        document.fault(("etcd", "endpoints"), "are http and https", "all http or all https")
    files: Mapping[str, tuple[str | None, str]] = {
        "ca_file": (shape.ca_file, "a PEM file"),
        "cert_file": (shape.cert_file, "a PEM file"),
        "key_file": (shape.key_file, "a PEM file"),
        "password_file": (shape.password_file, "a file with the password in it"),
    }
    for key, (name, allowed) in files.items():
        if name is None:
            continue
        if not any(secure) and key != "password_file":
            document.fault(("etcd", key), "is of no use without TLS", "https endpoints, or no such key")
        _check_file(document, ("etcd", key), folder, name, allowed)
    for one, other in (("cert_file", "key_file"), ("user", "password_file")):
        for has, lacks in ((one, other), (other, one)):
            if has in document.written("etcd") and lacks not in document.written("etcd"):
                document.fault(("etcd", has), f"needs {lacks}", f"{one} and {other}, or neither")


def _check_file(document: Document, place: tuple[str, ...], folder: Path, name: str, allowed: str) -> None:
    """A fault for a file that is not there, cannot be read, or is empty."""
    try:
        with (folder / name).open("rb") as file:
            if not file.read(1024).strip():
                document.fault(place, f"the file {name} is empty", allowed)
    except (FileNotFoundError, NotADirectoryError):
        document.fault(place, f"there is no file {name}", allowed)
    except (OSError, ValueError) as error:
        document.fault(place, f"{name} cannot be read: {getattr(error, 'strerror', None) or error}", allowed)
