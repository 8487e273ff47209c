"""How many TCP connections a service has on this machine."""

from __future__ import annotations

from collections.abc import Collection

from gtm.model.anycast import Service
from gtm.observe.rtt.sockdiag import local_ends


def count(service: Service) -> int | None:
    """The established connections to a service's addresses, on its ports if some are given; None without addresses.

    Raises GtmError if the kernel does not tell.
    """
    if not service.addresses:
        return None
    ports: Collection[int] = service.connection_ports
    return sum(address in service.addresses and (not ports or port in ports) for address, port in local_ends())
