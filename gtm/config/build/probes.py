"""What a check asks -> its probe."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from gtm.config.document import Document, Steps
from gtm.config.shape.checks import CheckShape
from gtm.config.shape.probes import HttpShape, HttpsShape, TlsOptionsShape
from gtm.config.source import is_file
from gtm.model.check import (
    DnsProbe,
    ExecProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    HttpVersion,
    IcmpProbe,
    Probe,
    PushProbe,
    TcpProbe,
    Tls,
    TlsProbe,
    UdpProbe,
)

ADDRESS = "{address}"


def build_probe(shape: CheckShape, folder: Path) -> Probe:
    """The probe of a shape that has exactly one, no composed one; files are looked for in the folder."""
    if (http := shape.https or shape.http) is not None:
        return _http_probe(http, folder)
    if shape.tls is not None:
        return TlsProbe(port=shape.tls.port, tls=_tls(shape.tls, folder))
    if shape.grpc is not None:
        secure = None if shape.grpc.tls is None else _tls(shape.grpc.tls, folder)
        service = shape.grpc.service or ""
        return GrpcProbe(port=shape.grpc.port, service=service, authority=shape.grpc.authority, tls=secure)
    if (dns := shape.dns) is not None:
        return DnsProbe(
            port=dns.port, qname=dns.name, qtype=dns.type, rcodes=dns.rcodes, answer=dns.answer, tcp=dns.tcp
        )
    if shape.icmp is not None:
        return IcmpProbe(size_bytes=shape.icmp.size)
    if shape.udp is not None:
        return UdpProbe(port=shape.udp.port, send=shape.udp.send, expect=shape.udp.expect)
    if shape.exec is not None:
        return ExecProbe(argv=shape.exec.run, degraded_exits=shape.exec.degraded)
    if shape.file is not None:
        return FileProbe(path=str(folder / shape.file.path), ttl_s=shape.file.ttl)
    if shape.push is not None:
        return PushProbe(ttl_s=shape.push.ttl)
    return TcpProbe(port=shape.tcp.port if shape.tcp is not None else 0)


def _http_probe(shape: HttpShape, folder: Path) -> HttpProbe:
    return HttpProbe(
        port=shape.port,
        method=shape.method,
        path=shape.path,
        host=shape.host,
        headers=tuple(shape.headers.items()),
        statuses=shape.statuses,
        body=shape.body,
        degraded_statuses=shape.degraded.statuses,
        degraded_body=shape.degraded.body,
        version=shape.version,
        reuse=shape.reuse,
        tls=_tls(shape, folder) if isinstance(shape, HttpsShape) else None,
    )


def _tls(shape: HttpsShape | TlsOptionsShape, folder: Path) -> Tls:
    ca_file = None if shape.ca_file is None else str(folder / shape.ca_file)
    return Tls(server_name=shape.server_name, ca_file=ca_file, expires_s=shape.expires)


def check_probe(document: Document, name: str, shape: CheckShape, folder: Path) -> None:
    """Faults of one key of a probe against another, and of what it needs."""
    if shape.https is not None:
        _check_http(document, ("checks", name, "https"), shape.https)
        _check_tls(document, ("checks", name, "https"), shape.https, folder)
    elif shape.http is not None:
        _check_http(document, ("checks", name, "http"), shape.http)
    if shape.tls is not None:
        _check_tls(document, ("checks", name, "tls"), shape.tls, folder)
    if shape.grpc is not None:
        _check_h2(document, ("checks", name, "grpc"))
        if shape.grpc.tls is not None:
            _check_tls(document, ("checks", name, "grpc", "tls"), shape.grpc.tls, folder)
    if shape.exec is not None and not shape.exec.run[0].startswith("/"):
        place = ("checks", name, "exec", "run", 0)
        document.fault(place, f"{shape.exec.run[0][:60]} is not an absolute path", "a program such as /usr/lib/x")


def _check_http(document: Document, place: Steps, http: HttpShape) -> None:
    if http.method == "HEAD" and http.body is not None:
        document.fault((*place, "body"), "an answer to HEAD has no body", "method: GET")
    if http.method == "HEAD" and http.degraded.body is not None:
        document.fault((*place, "degraded", "body"), "an answer to HEAD has no body", "method: GET")
    folded = [header.lower() for header in http.headers]
    for position, header in enumerate(http.headers):
        if folded[position] in folded[:position]:
            document.fault((*place, "headers", header), f"the header {header} is given twice", "each header once")
    if http.version is HttpVersion.HTTP_2:
        _check_h2(document, (*place, "version"))
        for header in http.headers:
            if header.lower() in {"te", "keep-alive", "proxy-connection"}:
                words = f"HTTP/2 has no header {header} (RFC 9113 8.2.2)"
                document.fault((*place, "headers", header), words, "any other header")


def _check_tls(document: Document, place: Steps, shape: HttpsShape | TlsOptionsShape, folder: Path) -> None:
    if shape.ca_file is not None and not is_file(folder / shape.ca_file):
        document.fault((*place, "ca_file"), f"there is no file {shape.ca_file}", "a PEM file")


def _check_h2(document: Document, place: Steps) -> None:
    """HTTP/2 is spoken by a package that is an extra."""
    if find_spec("h2") is None:
        document.fault(place, "needs the Python package h2", "pip install 'gtm[probes]'")
