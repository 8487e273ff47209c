"""`gtm balance sample`: some of the frames that come in, as a pcap file."""

from __future__ import annotations

import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from gtm.config.nearby import listed
from gtm.model.errors import AskedError, GtmError, PublishError
from gtm.publish.dataplane.jiffies import measure
from gtm.publish.dataplane.pcap import Pcap
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.sampler import OBJECT, SNAP, Sampler
from gtm.web.document import as_object

GRACE_S = 1.0  # what the kernel goes on for if this is killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was written to `file`: `frames`, of those `seen` on the interface; `lost`: nobody had read those before."""

    file: str
    interface: str
    frames: int
    seen: int
    lost: int
    took_s: float


def sample(
    file: Path,
    *,
    pins: Path,
    interface: str | None,
    every: int,
    snap_bytes: int,
    frames: int,
    limit_s: float,
    objects: Path | None = None,
) -> Sampled:
    """Write frames until there are so many, or the time is over, or SIGINT or SIGTERM. Raises GtmError."""
    pinned = Pins(pins)
    where = _interface(pinned, interface)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            Sampler(pinned, OBJECT if objects is None else objects / OBJECT.name) as sampler,
            file.open("wb") as opened,
        ):
            start_s = time.monotonic()
            sampler.set(every=every, snap_bytes=snap_bytes, until=measure().at(start_s + limit_s + GRACE_S))
            sampler.start(where)
            written = 0
            try:
                written = _write(sampler, Pcap(opened, snap_bytes=min(snap_bytes, SNAP)), frames, start_s + limit_s)
            finally:
                sampler.stop()
            seen, _, lost = sampler.counted()
            took_s = time.monotonic() - start_s
            return Sampled(file=str(file), interface=where, frames=written, seen=seen, lost=lost, took_s=took_s)
    except PermissionError as error:
        raise PublishError(
            f"not permitted ({error.filename or 'it needs root'})", target=where, change="sample"
        ) from error
    except OSError as error:
        raise GtmError(f"{error.filename or where}: {error.strerror or error}") from error


def sampled_document(found: Sampled) -> dict[str, object]:
    """What was written, as JSON."""
    return as_object(found)


def sampled_text(found: Sampled) -> str:
    """What was written, in a line."""
    lost = f", {found.lost} lost" if found.lost else ""
    return f"{found.file}: {found.frames} of {found.seen} frames on {found.interface} in {found.took_s:.1f} s{lost}"


def _write(sampler: Sampler, pcap: Pcap, frames: int, end_s: float) -> int:
    """Write samples as they come; how many."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    waiting = select.poll()
    waiting.register(sampler.fd, select.POLLIN)
    written = 0
    try:
        while written < frames and (left_s := end_s - time.monotonic()) > 0:
            waiting.poll(left_s * 1000)
            for one in sampler.take()[: frames - written]:
                captured = one["bytes"][: int(one["captured"])].tobytes()
                pcap.frame(captured, length=int(one["length"]), at_ns=int(one["at_ns"]) + offset_ns)
                written += 1
    except KeyboardInterrupt:
        return written
    return written


def _interface(pins: Pins, asked: str | None) -> str:
    known = pins.links()
    if asked is not None and asked in known:
        return asked
    if asked is not None:
        raise AskedError(
            f"nothing of ours is on {asked} (there is on: {listed(known) or 'none'})", argument="--interface"
        )
    if len(known) == 1:
        return known[0]
    if not known:
        raise PublishError(
            "no program of ours is on any interface (gtm balance run)", target=str(pins.folder), change="sample"
        )
    raise AskedError(f"is missing: one of {listed(known)}", argument="--interface")
