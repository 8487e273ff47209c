"""The bytes of an HTTP check's request, made once per target."""

from __future__ import annotations

import re

from gtm.model.address import Endpoint
from gtm.model.check import HttpProbe, Target

_DEFAULT_PORTS = {False: 80, True: 443}
_CONTENT_METHODS = frozenset({"POST", "PUT", "PATCH"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_TARGET = re.compile(r"[\x21-\x7e]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PORT = re.compile(r":[0-9]*$")


def render(probe: HttpProbe, target: Target) -> bytes:
    """An HTTP/1.1 request (RFC 9112) in one piece. Raises ValueError as `fields` does."""
    head = "".join(f"{name}: {value}\r\n" for name, value in fields(probe, target))
    return f"{probe.method} {probe.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


def fields(probe: HttpProbe, target: Target) -> tuple[tuple[str, str], ...]:
    """The headers of a request, Host first; the check's own replace ours of the same name.

    Raises ValueError if method, path or a header cannot be sent as they are.
    """
    if not _TOKEN.fullmatch(probe.method):
        raise ValueError(f"method {probe.method!r} cannot be sent")
    if not _REQUEST_TARGET.fullmatch(probe.path):
        raise ValueError(f"path {probe.path!r} cannot be sent (allowed: printable ASCII without spaces)")
    found = {
        "host": ("Host", probe.host or _authority(target, probe.port, tls=probe.tls is not None)),
        "user-agent": ("User-Agent", "gtm-probe"),
        "accept": ("Accept", "*/*"),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "connection": ("Connection", "keep-alive" if probe.reuse else "close"),
    }
    if probe.method in _CONTENT_METHODS:
        found["content-length"] = ("Content-Length", "0")
    for name, value in probe.headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"header {name!r} cannot be sent")
        found[name.lower()] = (name, value)
    if not _VALUE.fullmatch(found["host"][1]):
        raise ValueError(f"host {probe.host!r} cannot be sent")
    return tuple(found.values())


def server_name(probe: HttpProbe, target: Target) -> str:
    """The name that the certificate must have: the check's, else its host without the port, else the address."""
    if probe.tls is not None and probe.tls.server_name:
        return probe.tls.server_name
    if probe.host:
        return _PORT.sub("", probe.host).strip("[]") if not _is_bare_ipv6(probe.host) else probe.host
    return str(target.address)


def _is_bare_ipv6(host: str) -> bool:
    return host.count(":") > 1 and not host.startswith("[")


def _authority(target: Target, port: int, *, tls: bool) -> str:
    if port != _DEFAULT_PORTS[tls]:
        return str(Endpoint(address=target.address, port=port))
    return f"[{target.address}]" if target.address.version == 6 else str(target.address)
