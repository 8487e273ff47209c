"""probes/checks.yaml -> checks."""

from __future__ import annotations

from pathlib import Path

from gtm.config.document import Document
from gtm.config.shape.checks import ChecksFile, CheckShape, HttpShape, HttpsShape
from gtm.config.source import is_file
from gtm.model.check import Cadence, Check, HttpProbe, Probe, TcpProbe, Tls

KINDS = ("http", "https", "tcp")


def build_checks(document: Document | None, folder: Path) -> dict[str, Check]:
    """The checks by name."""
    found = document.validate(ChecksFile) if document is not None else None
    if document is None or found is None:
        return {}
    checks: dict[str, Check] = {}
    for name, shape in found.checks.items():
        kinds = [kind for kind in document.written("checks", name) if kind in KINDS]
        if not kinds and any(key not in CheckShape.model_fields for key in document.written("checks", name)):
            continue  # what it was meant to probe is an unknown key, and that is said already
        if len(kinds) != 1:
            document.fault(
                ("checks", name), f"has {' and '.join(kinds) or 'nothing to probe'}", "one of http, https, tcp"
            )
        elif getattr(shape, kinds[0]) is not None:
            _check(document, name, shape, folder)
            checks[name] = build_check(name, shape, folder)
    return checks


def build_check(name: str, shape: CheckShape, folder: Path) -> Check:
    """One check of a shape that has exactly one probe; `ca_file` is looked for in the folder."""
    default_s = min(Cadence().timeout_s, shape.interval)
    cadence = Cadence(
        interval_s=shape.interval,
        timeout_s=default_s if shape.timeout is None else shape.timeout,
        fall=shape.fall,
        rise=shape.rise,
        jitter=shape.jitter,
    )
    return Check(name=name, probe=_probe(shape, folder), cadence=cadence)


def _probe(shape: CheckShape, folder: Path) -> Probe:
    http = shape.http or shape.https
    if http is not None:
        return _http_probe(http, folder)
    return TcpProbe(port=shape.tcp.port if shape.tcp is not None else 0)


def _http_probe(shape: HttpShape, folder: Path) -> HttpProbe:
    tls = None
    if isinstance(shape, HttpsShape):
        ca_file = None if shape.ca_file is None else str(folder / shape.ca_file)
        tls = Tls(server_name=shape.server_name, ca_file=ca_file)
    return HttpProbe(
        port=shape.port,
        method=shape.method,
        path=shape.path,
        host=shape.host,
        headers=tuple(shape.headers.items()),
        statuses=shape.statuses,
        body=shape.body,
        tls=tls,
    )


def _check(document: Document, name: str, shape: CheckShape, folder: Path) -> None:
    if shape.timeout is not None and shape.timeout > shape.interval:
        document.fault(
            ("checks", name, "timeout"), f"{shape.timeout:g}s is longer than the interval", f"up to {shape.interval:g}s"
        )
    kind, http = ("https", shape.https) if shape.https is not None else ("http", shape.http)
    if http is None:
        return
    place = ("checks", name, kind)
    if http.method == "HEAD" and http.body is not None:
        document.fault((*place, "body"), "an answer to HEAD has no body", "method: GET")
    folded = [header.lower() for header in http.headers]
    for position, header in enumerate(http.headers):
        if folded[position] in folded[:position]:
            document.fault((*place, "headers", header), f"the header {header} is given twice", "each header once")
    if isinstance(http, HttpsShape) and http.ca_file is not None and not is_file(folder / http.ca_file):
        document.fault((*place, "ca_file"), f"there is no file {http.ca_file}", "a PEM file")
