"""A whole announcer on loopback: a deployment, the real ExaBGP, `gtm announce run` under it, and a sink as its peer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

import gtm
from gtm.app.announce import report
from gtm.model.announcing import AnnouncerReport, RouteReport, ServiceReport
from gtm.model.errors import StoreError
from tests import exabgp
from tests.bgp_sink import Sink, sink
from tests.lab.network import Host

T = TypeVar("T")
DEADLINE_S = 60.0
PREFIX = "203.0.113.0/24"
NODE = "node: edge1\nlisten: ['127.0.0.1:{port}']\nworkers: 1\n"
REGIONS = "regions:\n  us-east: {latitude: 39.04, longitude: -77.49, share: 100%}\n"
CHECKS = "checks:\n  alive: {{tcp: {{port: {check}}}, interval: 200ms, timeout: 200ms, fall: 2, rise: 2}}\n"
ZONE = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.53\n"
ANYCAST = """\
asn: 65010
session: {{hold_time: 60s}}
speakers:
  edge1:
    region: us-east
    address: 127.0.0.5
    neighbours: {{sink: {{address: 127.0.0.1, asn: 65000, port: {sink}, families: ipv4}}}}
services:
  web:
    prefixes: [{prefix}]
    regions: all
    local: alive
    interval: 200ms
    fast_interval: 100ms
    timeout: 100ms
    rise: 2
    fall: 2
{service}guard: {{without_store: {without_store}, damping: false}}
lease: {{ttl: {ttl}, exit: {exit}}}
"""


@dataclass(kw_only=True)
class Announcer:
    """The parts of it, and what they say. `listener` is the service that the local check finds alive."""

    folder: Path
    sink: Sink
    check: int
    host: Host | None = None
    listener: socket.socket | None = None
    exabgp: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """What ExaBGP and gtm have logged."""
        return (self.folder / "log").read_text(errors="replace")

    def write(self, **settings: str) -> None:
        """Write the deployment, with some of its settings changed."""
        self.settings |= settings
        values = {
            "prefix": PREFIX,
            "service": "",
            "without_store": "withdraw",
            "ttl": "2s",
            "exit": "withdraw",
            **self.settings,
        }
        for name, text in (
            ("gtm.yaml", NODE.format(port=5353)),
            ("geodata/regions.yaml", REGIONS),
            ("geodata/overrides.csv", "network,country,subdivision,latitude,longitude\n"),
            ("probes/checks.yaml", CHECKS.format(check=self.check)),
            ("zones/example.test.zone", ZONE),
            ("bgp/anycast.yaml", ANYCAST.format(sink=self.sink.port, **values)),
        ):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def start(self) -> None:
        """Start ExaBGP with the configuration that gtm renders."""
        config, gtm = self.folder / "exabgp.conf", [sys.executable, "-m", "gtm.cli.main", "announce"]
        command = f"{sys.executable} -m gtm.cli.main announce run -C {self.folder}"
        rendering = [*gtm, "render", "-C", str(self.folder), "--out", str(config), "--run", command]
        subprocess.run(rendering, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL)
        program = exabgp.command()
        assert program is not None, "needs exabgp: pip install 'gtm[bgp]'"
        with (self.folder / "log").open("ab") as log:
            words = [program, str(config)] if self.host is None else self.host.command(program, str(config))
            self.exabgp = subprocess.Popen(words, env=environment(), stdout=log, stderr=log, start_new_session=True)

    def serve(self) -> None:
        """Have the service alive."""
        self.listener = inside(self.host, lambda: socket.create_server(("127.0.0.1", self.check)))
        threading.Thread(target=_accept, args=(self.listener,), daemon=True).start()

    def fail(self) -> None:
        """Have it dead."""
        assert self.listener is not None
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def report(self) -> AnnouncerReport:
        """The report as it is now."""
        return report.load(self.folder / "state")

    def until(self, what: str, condition: Callable[[AnnouncerReport], bool]) -> AnnouncerReport:
        """The first report of which something holds."""
        ends_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends_s:
            with contextlib.suppress(StoreError):
                found = self.report()
                if condition(found):
                    return found
            time.sleep(0.01)
        raise AssertionError(f"not within {DEADLINE_S} s: {what}\n{self.log[-5000:]}")

    def wait_log(self, words: str) -> None:
        """Until something stands in the log."""
        self.wait_for(f"{words} in the log", lambda: words in self.log)

    def wait_gone(self, pid: int) -> None:
        """Until a process has ended."""
        self.wait_for(
            f"process {pid} ends", lambda: not Path(f"/proc/{pid}/cmdline").exists() or not _command_line(pid)
        )

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to one of its processes."""
        os.kill(pid, number)

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Until something holds."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"not within {DEADLINE_S} s: {what}\n{self.log[-5000:]}"
            time.sleep(0.01)

    def wait_table(self, *prefixes: str) -> None:
        """Until the peer has exactly these prefixes."""
        wanted = set(prefixes)
        try:
            self.sink.wait(f"the peer has {wanted}", lambda: self.sink.table == wanted)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-5000:]}") from error

    def end(self) -> None:
        """End what still runs of it, by its numbers."""
        found = None
        with contextlib.suppress(StoreError):
            found = self.report()
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.fail()
        if self.exabgp is None:
            return
        helpers = [] if self.exabgp.poll() is not None else children(self.exabgp.pid)
        for pid in [*helpers, *(grand for child in helpers for grand in children(child))]:
            _send(pid, signal.SIGKILL)
        _send(self.exabgp.pid, signal.SIGKILL)
        self.exabgp.wait(DEADLINE_S)
        if found is not None and "gtm.app.announce" in _command_line(found.pid):
            _send(found.pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """For ExaBGP, which changes to another folder before it starts gtm."""
    return exabgp.environment() | {"PYTHONPATH": str(Path(gtm.__file__).resolve().parents[1])}


def route(found: AnnouncerReport, prefix: str = PREFIX) -> RouteReport | None:
    """The report's route to a prefix."""
    return next((each for each in found.routes if str(each.prefix) == prefix), None)


def web(found: AnnouncerReport) -> ServiceReport:
    """The report's service."""
    return next(each for each in found.services if each.name == "web")


def on_wire(found: AnnouncerReport) -> bool:
    """Whether the route is known to be on the wire."""
    one = route(found)
    return one is not None and one.on_wire is True and one.wished is not None


def settled(found: AnnouncerReport) -> bool:
    """Whether its announcer has told everything, and read it back."""
    one = route(found)
    return one is not None and one.accepted is True and on_wire(found) and (one.read_s or 0.0) > one.since_s


def children(pid: int) -> list[int]:
    """The child processes of one."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _accept(listener: socket.socket) -> None:
    """Take every connection and close it, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def inside(host: Host | None, make: Callable[[], T]) -> T:
    """What `make` gives when it is called in a host, or here."""
    return make() if host is None else host.inside(make)


@contextlib.contextmanager
def announcer(folder: Path, *, host: Host | None = None, **settings: str) -> Iterator[Announcer]:
    """A deployment written and its peer there; nothing else is started. Ended whatever happens."""
    if exabgp.command() is None:
        pytest.skip("needs exabgp, the extra bgp")
    with contextlib.ExitStack() as stack:
        peer = inside(host, lambda: stack.enter_context(sink()))
        made = Announcer(folder=folder, sink=peer, check=inside(host, free_port), host=host)
        made.write(**settings)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def announced(folder: Path, *, host: Host | None = None, **settings: str) -> Iterator[Announcer]:
    """An announcer whose service is alive and announced."""
    with announcer(folder, host=host, **settings) as made:
        made.serve()
        made.start()
        made.wait_table(PREFIX)
        made.until("it is read back", settled)
        yield made
