"""ADDR:PORT as people write it on a command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from ipaddress import ip_address

from gtm.model.address import Endpoint


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint of `192.0.2.1:53` or `[2001:db8::1]:53`. Raises argparse.ArgumentTypeError with what is allowed."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        endpoint = Endpoint(address=ip_address(host[1:-1] if bracketed else host), port=int(port))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not ADDRESS:PORT or [IPv6-ADDRESS]:PORT") from None
    if bracketed != (endpoint.address.version == 6) or not 0 < endpoint.port < 65536:
        raise ArgumentTypeError(f"{text!r} is not ADDRESS:PORT or [IPv6-ADDRESS]:PORT, with a port from 1 to 65535")
    return endpoint
