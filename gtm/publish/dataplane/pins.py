"""Names in a bpffs for what must outlive its manager: maps, programs and links.

Below one folder: `maps-LAYOUT/OBJECT/MAP` for maps, by the layout of their records, and `link-INTERFACE`. An object
that is loaded again takes the pinned maps of the same layout, so flows, counters and tables stay as they are. An object
beside the balancer may have a layout of its own (OBJECT-LAYOUT): that it changes does not cost the balancer its flows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, layout

PREFIX, LINK = "maps-", "link-"
MOUNTS = Path("/proc/self/mounts")


class Incompatible(PublishError):
    """What is pinned was made by another release, whose maps these programs cannot read; replacing loses its flows."""


class Pins:
    """A folder of pins; made when something is pinned. Raises PublishError where it is not in a bpffs."""

    def __init__(self, folder: Path, *, version: str | None = None) -> None:
        """`version` names the layout of the maps (default: that of gtm.publish.dataplane.layout)."""
        self.folder = folder.absolute()
        self._loaded: set[str] = set()
        self.version = layout.digest() if version is None else version
        if filesystem(self.folder) != "bpf":
            raise PublishError("is not in a bpffs (mount -t bpf bpf /sys/fs/bpf)", target=str(folder), change="pin")

    @property
    def maps(self) -> Path:
        """The folder of this layout's maps."""
        return self.folder / f"{PREFIX}{self.version}"

    def maps_of(self, path: Path, version: str | None = None) -> Path:
        """The folder of an object's maps, which may have a layout of their own."""
        stem = path.name.split(".")[0]
        return self.maps / (stem if version is None else f"{stem}-{version}")

    def others(self) -> tuple[str, ...]:
        """The layouts of other releases that are pinned here."""
        found = (each.name.removeprefix(PREFIX) for each in _listed(self.folder) if each.name.startswith(PREFIX))
        return tuple(sorted(set(found) - {self.version}))

    def link(self, interface: str) -> Path:
        """Where the link to an interface is pinned; a bpffs takes no dots, and interfaces have no colons."""
        return self.folder / (LINK + interface.replace(".", ":"))

    def links(self) -> tuple[str, ...]:
        """The interfaces that have a link pinned here."""
        found = (each.name.removeprefix(LINK) for each in _listed(self.folder) if each.name.startswith(LINK))
        return tuple(sorted(name.replace(":", ".") for name in found))

    def load(self, path: Path, *, shared: Mapping[str, int] | None = None, version: str | None = None) -> bpf.Object:
        """The object with its pinned maps, and with `shared` ones (descriptors by name), which are another's to pin.

        `version` is the layout of its own maps, where the object has one. Maps that are not pinned yet are made and
        pinned. Raises Incompatible where a pinned map is not as the object declares it, OSError with libbpf's words
        where it does not load.
        """
        shared = shared or {}
        folder = self.maps_of(path, version)
        with contextlib.ExitStack() as opened:

            def reuse(name: str, declared: bpf.Shape) -> int | None:
                if name in shared:
                    return shared[name]
                fd = None if name.startswith(".rodata") else bpf.pinned(folder / plain(name))
                if fd is not None:
                    opened.callback(os.close, fd)
                    _compare(folder / plain(name), declared, bpf.shape(fd))
                return fd

            loaded = bpf.Object(path, reuse)
        try:
            _make(folder)
            for name, fd in loaded.maps().items():
                if name not in shared and not name.startswith(".rodata") and not (folder / plain(name)).exists():
                    bpf.pin(fd, folder / plain(name))
        except BaseException:
            loaded.close()
            raise
        self._loaded.add(folder.name)
        return loaded

    def prune(self) -> tuple[str, ...]:
        """Remove the maps of other layouts, and of objects that were not loaded; those layouts.

        For when nothing that is attached reads them any more.
        """
        gone = self.others()
        for version in gone:
            _remove(self.folder / f"{PREFIX}{version}")
        for each in tuple(_listed(self.maps)):
            if each.name not in self._loaded:
                _remove(each)
        return gone

    def remove(self) -> None:
        """Remove everything, links last: what is attached reads its tables until then."""
        if not self.folder.exists():
            return
        for each in sorted(self.folder.iterdir(), key=lambda one: one.name.startswith(LINK)):
            _remove(each)
        with contextlib.suppress(PermissionError):  # of an account that may not change the folder above
            self.folder.rmdir()


def plain(name: str) -> str:
    """A map's name without the dot of sections (.bss), which a bpffs does not take."""
    return name.removeprefix(".")


def filesystem(path: Path) -> str:
    """The type of the file system that a path, which need not be there yet, is in; "" where that is not known."""
    found: tuple[int, str] = (-1, "")
    for line in MOUNTS.read_text().splitlines():
        _, mounted, kind, *_ = line.split(" ")
        point = Path(mounted.encode().decode("unicode_escape"))  # blanks are \040
        if path.is_relative_to(point) and len(point.parts) >= found[0]:
            found = len(point.parts), kind
    return found[1]


def _compare(path: Path, declared: bpf.Shape, found: bpf.Shape) -> None:
    for name in ("kind", "key_bytes", "value_bytes", "entries", "flags"):
        wanted, there = getattr(declared, name), getattr(found, name)
        if wanted != there and not (name == "entries" and not wanted):  # 0: libbpf counts CPUs
            raise Incompatible(f"has {name} {there}, and this release wants {wanted}", target=str(path), change="reuse")


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _listed(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.exists() else iter(())


def _remove(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            _remove(each)
        path.rmdir()
    else:
        path.unlink()
