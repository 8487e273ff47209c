"""gtm.yaml -> Node."""

from __future__ import annotations

from pathlib import Path

from gtm.config.build.regions import unknown_region
from gtm.config.document import Document
from gtm.config.known import Known
from gtm.config.shape.node import NodeFile
from gtm.config.source import is_file
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
        state=shape.state,
        geo=databases(folder, faults) if shape.geo is None else shape.geo,
        workers=shape.workers,
        user=shape.user,
        identity=Identity(nsid=shape.nsid, id_server=shape.id_server, version=shape.version),
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
