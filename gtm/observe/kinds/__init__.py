"""The probes of every kind but plain HTTP/1.1 and TCP, one module each; `ask` finds the one for a check."""

from __future__ import annotations

from typing import assert_never

from gtm.model.check import (
    Check,
    Composed,
    DnsProbe,
    ExecProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    HttpVersion,
    IcmpProbe,
    PushProbe,
    Target,
    TcpProbe,
    TlsProbe,
    UdpProbe,
)
from gtm.observe.attempt import Ask
from gtm.observe.kinds.dns import DnsAsk
from gtm.observe.kinds.exec import ExecAsk
from gtm.observe.kinds.file import FileAsk
from gtm.observe.kinds.icmp import IcmpAsk
from gtm.observe.kinds.tls import TlsAsk
from gtm.observe.kinds.udp import UdpAsk

NEEDS_PROBES = "HTTP/2 and gRPC checks need the package h2 (pip install 'gtm[probes]')"


def ask(target: Target, check: Check) -> Ask:
    """How a target is asked, ready to be run any number of times.

    Raises ValueError if the check cannot be made, or is one that is never asked, and re.error for a pattern that is
    none.
    """
    match check.probe:
        case HttpProbe(version=HttpVersion.HTTP_2) | GrpcProbe():
            return _over_http2(target, check.probe)
        case TlsProbe() as probe:
            return TlsAsk(target, probe)
        case DnsProbe() as probe:
            return DnsAsk(target, probe)
        case IcmpProbe() as probe:
            return IcmpAsk(target, probe)
        case UdpProbe() as probe:
            return UdpAsk(target, probe)
        case ExecProbe() as probe:
            return ExecAsk(target, probe)
        case FileProbe() as probe:
            return FileAsk(target, probe)
        case HttpProbe() | TcpProbe():
            raise ValueError(f"{target} is asked by gtm.observe.probe")
        case PushProbe() | Composed():
            raise ValueError(f"{target} is not asked: its results come from elsewhere")
        case _:
            assert_never(check.probe)


def _over_http2(target: Target, probe: HttpProbe | GrpcProbe) -> Ask:
    """As `ask`; the library is an extra, so it is imported where it is needed."""
    try:
        from gtm.observe.kinds.grpc import GrpcAsk
        from gtm.observe.kinds.http2 import Http2Ask
    except ImportError as error:
        raise ValueError(NEEDS_PROBES) from error
    return GrpcAsk(target, probe) if isinstance(probe, GrpcProbe) else Http2Ask(target, probe)
