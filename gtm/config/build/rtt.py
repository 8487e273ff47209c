"""probes/rtt.yaml -> what is measured of round-trip times, and when it decides."""

from __future__ import annotations

from gtm.config.build.regions import unknown_region
from gtm.config.document import Document
from gtm.config.known import Known
from gtm.config.shape.rtt import FileShape, RttFile, TargetShape
from gtm.model.rtt import RttFile as File
from gtm.model.rtt import RttFormat, RttKind, RttSettings, RttTarget


def build_rtt(document: Document | None, regions: Known) -> RttSettings | None:
    """The settings; None without a file. Files of measurements are not looked at: they may come later."""
    found = document.validate(RttFile) if document is not None else None
    if document is None or found is None:
        return None
    _check_times(document, found)
    default = RttSettings()
    return RttSettings(
        targets=_targets(document, found.targets),
        interval_s=found.interval,
        timeout_s=min(default.timeout_s, found.interval) if found.timeout is None else found.timeout,
        files=_files(document, found.files, regions),
        passive=found.passive,
        reports=found.reports,
        prefix4=found.prefix4,
        prefix6=found.prefix6,
        networks_max=found.networks_max,
        half_life_s=found.half_life,
        samples_min=found.samples_min,
        age_max_s=found.age_max,
        band_share=found.band.share,
        band_s=found.band.least,
        dwell_s=found.dwell,
    )


def _check_times(document: Document, shape: RttFile) -> None:
    if not document.intact("interval"):
        return
    if shape.timeout is not None and shape.timeout > shape.interval:
        document.fault(("timeout",), f"{shape.timeout:g}s is longer than the interval", f"up to {shape.interval:g}s")
    if shape.age_max < shape.interval and document.intact("age_max"):
        document.fault(
            ("age_max",),
            f"estimates would be too old after {shape.age_max:g}s, and measurements come each {shape.interval:g}s",
            f"{shape.interval:g}s or more",
        )


def _targets(document: Document, shapes: tuple[TargetShape, ...]) -> tuple[RttTarget, ...]:
    targets: dict[RttTarget, None] = {}
    for position, shape in enumerate(shapes):
        kind = RttKind(shape.kind)
        if kind is RttKind.ICMP and shape.port is not None:
            document.fault(("targets", position, "port"), "an echo has no port", "kind: tcp or dns, or no port")
        target = RttTarget(address=shape.address, kind=kind, port=53 if shape.port is None else shape.port)
        if target in targets:
            document.fault(
                ("targets", position), f"{shape.address} is listed twice", "each address, kind and port once"
            )
        targets[target] = None
    return tuple(targets)


def _files(document: Document, shapes: tuple[FileShape, ...], regions: Known) -> tuple[File, ...]:
    files: dict[str, File] = {}
    for position, shape in enumerate(shapes):
        places = shape.regions or {}
        format_ = RttFormat(shape.format)
        if format_ is RttFormat.ATLAS and "regions" not in document.written("files", position):
            allowed = "regions: {ADDRESS: region}, of the addresses that Atlas measured to"
            document.fault(("files", position), "says of no address which region it stands for", allowed)
        if format_ is RttFormat.CSV and shape.regions is not None:
            document.fault(("files", position, "regions"), "a CSV file names regions itself", "format: atlas beside it")
        for where, region in places.items():
            if region not in regions:
                unknown_region(document, ("files", position, "regions", str(where)), region, regions)
        if shape.path in files:
            document.fault(("files", position), f"{shape.path} is listed twice", "each file once")
        files[shape.path] = File(path=shape.path, format=format_, regions=places)
    return tuple(files.values())
