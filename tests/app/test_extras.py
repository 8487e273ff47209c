"""What `make run` installs is enough for a node that is alone: what needs an extra is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

# By the extra whose libraries they need.
MODULES = {
    "http": {
        "gtm.observe.load.prometheus",
        "gtm.store.etcd.announcing",
        "gtm.store.etcd.client",
        "gtm.store.etcd.orders",
        "gtm.store.etcd.permits",
        "gtm.store.shared",
    },
    "probes": {"gtm.observe.kinds.grpc", "gtm.observe.kinds.http2", "gtm.observe.kinds.session"},
}
LIBRARIES = {
    "http": ("httpx",),
    "probes": ("h2",),
    "bgp": ("exabgp",),
    "cloud": ("boto3", "cloudflare"),
    "dataplane": ("pyroute2",),
    "dev": ("cryptography", "geoip2", "grpc", "hypothesis", "pytest"),
}
WALK = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import gtm
for module in pkgutil.walk_packages(gtm.__path__, "gtm."):
    try:
        importlib.import_module(module.name)
    except ImportError:
        print(module.name)
"""


def test_no_other_module_needs_an_extra() -> None:
    absent = [library for libraries in LIBRARIES.values() for library in libraries]
    command = [sys.executable, "-c", WALK, *absent]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()
    assert set(found) == set().union(*MODULES.values())
