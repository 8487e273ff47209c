"""The rack's balancers as they are run: `gtm balance run` on each, from files, with checks and orders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from gtm.decide.balance import Wrap
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.link import hook
from gtm.publish.dataplane.pins import Pins
from tests.dataplane.bpffs import mounted
from tests.lab.balance import BACKENDS, BALANCERS, GUE_PORT, LINK, MTU_BYTES, ROUTER, VIPS, How, Rack, wired
from tests.lab.fabric import until

ROOT = Path(__file__).resolve().parents[2]
REGION, SERVICE, CHECK = "us-east", "web", "alive"
SECRET = "bGFib3JhdG9yeSBzZWNyZXQgb2YgMzIgYnl0ZXMhISE="
SOURCES = ["172.16.0.0/16", "fd00:a::/64"]
DRAIN_S = 300
WRAPS = {Wrap.L2: "l2", Wrap.IP: "ipip", Wrap.GRE: "gre", Wrap.GUE: "gue"}
ZONE = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n  NS ns\nns A 192.0.2.53\n"


@dataclass(slots=True)
class Managers:
    """A manager's process on each balancer, its deployment folder and its pins."""

    rack: Rack
    bpffs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        return self.rack.fabric.folder / name

    def start(self, *names: str) -> None:
        """These balancers' managers, until they say that they are ready."""
        for name in names:
            folder = self.folder(name)
            (folder / "ready").unlink(missing_ok=True)
            self.processes[name] = self.rack.fabric.hosts[name].start(
                sys.executable, "-m", "gtm.cli.main", "-C", str(folder), "balance", "run",
                "--pins", str(self.bpffs / name), "--objects", str(self.rack.built),
                log=folder / "log", env={"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        for name in names:
            until(partial(self._is_ready, name), f"{name} is ready")

    def _is_ready(self, name: str) -> bool:
        assert self.processes[name].poll() is None, self.log(name)
        said = self.folder(name) / "ready"
        return said.exists() and said.read_text() == "up\n"

    def kill(self, name: str) -> None:
        """The manager is gone from one moment to the next; the kernel goes on."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(60)

    def end(self, name: str) -> None:
        """The manager is asked to end."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.log(name)

    def program(self, name: str) -> int | None:
        """What is on the balancer's link."""
        return self.rack.fabric.hosts[name].inside(lambda: hook(LINK)).program

    def flows(self, name: str) -> NDArray[np.uint64]:
        """The words of a balancer's flow table, eight a bucket, as they are now."""
        fd = bpf.pinned(Pins(self.bpffs / name).maps / "balance" / "flows")
        assert fd is not None
        try:
            table = bpf.view(fd, layout.FLOW_BUCKETS * layout.FLOW_BUCKET.itemsize, layout.FLOW_BUCKET)
            return table["flow"].copy()
        finally:
            os.close(fd)

    def reboot(self, name: str) -> None:
        """What a balancer's kernel knew is gone, and its manager begins anew."""
        self.kill(name)
        self.gtm(name, "balance", "detach", "--pins", str(self.bpffs / name))
        self.start(name)

    def log(self, name: str) -> str:
        return (self.folder(name) / "log").read_text()

    def gtm(self, name: str, *words: str) -> dict[str, object]:
        """What a command of gtm says on a balancer, as JSON."""
        command = (sys.executable, "-m", "gtm.cli.main", "-C", str(self.folder(name)), "--json", *words)
        host = self.rack.fabric.hosts[name]
        done = subprocess.run(
            host.command(*command), capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def drain(self, backend: str) -> None:
        """An operator drains a backend, on each balancer's node."""
        for name in BALANCERS:
            self.gtm(name, "drain", f"backend/{SERVICE}/{backend}", "--reason", "laboratory")


def services(made: Rack, drain_s: int, *, sync: bool, through: str) -> dict[str, object]:
    """dataplane/services.yaml of the rack."""
    backends = {}
    for name, number in BACKENDS.items():
        how = made.how[name]
        one: dict[str, object] = {"address": f"10.70.2.{number}", "region": REGION, "wrap": WRAPS[how.wrap]}
        if how.wrap is Wrap.L2:
            one["mac"] = made.macs[name].hex(":")
        if how.wrap is Wrap.GUE:
            one["gue_port"], one["second_chance"] = GUE_PORT, how.second_chance
        backends[name] = one
    return {
        "secret_file": "secret",
        "services": {
            SERVICE: {
                "vips": list(VIPS),
                "ports": ["tcp/80", "udp/80"],
                "check": CHECK,
                "through": through,
                "drain": f"{drain_s}s",
                "backends": backends,
            }
        },
        "instances": {
            name: {
                "region": REGION,
                "interface": LINK,
                "mode": made.mode,
                "gateways": {"rack": f"10.70.1.{ROUTER}"},
                "address": [f"172.16.0.{number}", f"fd00:a::{number:x}"],
                "source": SOURCES,
                "mtu": MTU_BYTES,
                "ready_file": "ready",
                "sync": f"10.70.1.{number}:6081" if sync else False,
            }
            for name, number in BALANCERS.items()
        },
    }


def write(folder: Path, node: str, made: Rack, drain_s: int, *, sync: bool, through: str) -> None:
    """A balancer's deployment folder."""
    checks = {CHECK: {"http": {"port": 80, "path": "/1"}, "interval": "0.5s", "timeout": "0.4s", "fall": 3, "rise": 1}}
    for name, content in {
        "gtm.yaml": f"node: {node}\nlisten: ['127.0.0.1:5300']\nworkers: 1\ngeo: []\nstate_folder: state\n",
        "zones/example.org.zone": ZONE,
        "geodata/regions.yaml": f"regions: {{{REGION}: {{latitude: 39.0, longitude: -77.5}}}}\n",
        "probes/checks.yaml": yaml.safe_dump({"checks": checks}),
        "dataplane/services.yaml": yaml.safe_dump(services(made, drain_s, sync=sync, through=through), sort_keys=False),
        "secret": SECRET + "\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "secret").chmod(0o600)


@contextmanager
def managed(
    built: Path, how: How, *, mode: str = "native", drain_s: int = DRAIN_S, sync: bool = False, through: str = "direct"
) -> Iterator[tuple[Rack, Managers]]:
    """A rack whose balancers gtm manages, both of them ready."""
    with wired(built, how, mode=mode) as made:
        managers = Managers(rack=made, bpffs=made.stack.enter_context(mounted(made.fabric.folder / "bpf")))
        for name in BALANCERS:
            write(managers.folder(name), name, made, drain_s, sync=sync, through=through)
        managers.start(*BALANCERS)
        yield made, managers
