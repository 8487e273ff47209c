"""`gtm demo`: the reference deployment on this machine, with stand-ins for its load balancers, until Ctrl-C.

The demo is a parent of two kinds of children, each in its own session so that a terminal's Ctrl-C reaches only the
demo: the stand-ins, and `gtm serve`. Each child asks the kernel to be told when the demo dies, however it dies.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gtm.app.crew import Crew, holder, left_behind
from gtm.app.folders import state_folder
from gtm.app.reference import installed, reference_folder
from gtm.app.serve import roles
from gtm.config.deployment import load
from gtm.model.address import Endpoint, IPAddress
from gtm.model.check import HttpProbe, TcpProbe
from gtm.model.deployment import Deployment
from gtm.model.errors import GtmError

STANDIN_START_S = 60.0
SERVE_START_S = 120.0  # a cold start compiles the geo database first
STOP_S = 15.0
RESTART_S = 10.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Standin:
    """A running stand-in: where it listens, for which region, and how to start it again."""

    endpoint: Endpoint
    region: str
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]


class _Stop:
    """Set by SIGINT and SIGTERM; waiting on it is waiting on a pipe, so that no signal is missed."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self.signalled = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._set)

    def _set(self, _: int, __: FrameType | None) -> None:
        self.signalled = True
        os.write(self._writing, b"1")

    def wait(self, seconds: float) -> bool:
        """Whether it was set within some seconds."""
        if not self.signalled:
            select.select([self._reading], [], [], seconds)
        return self.signalled


def run(folder: Path | None, *, in_json: bool) -> int:
    """Run the demo of a deployment folder (None: the reference deployment) until told to stop.

    Returns 0 after an orderly stop. Raises GtmError if anything cannot be started; then nothing is left running.
    """
    stop = _Stop()
    with _deployment(folder) as place:
        deployment = load(place)
        standins: list[Standin] = []
        serving: subprocess.Popen[bytes] | None = None
        begun = False
        try:
            _start_standins(deployment, standins, stop)
            if not stop.signalled:
                begun = True
                serving = _start_serve(place, stop, in_json=in_json)
            if serving is not None:
                _tell(place, deployment, standins, in_json=in_json)
                serving = _stay(place, standins, serving, stop, in_json=in_json)
        finally:
            _end(place, standins, serving, begun=begun)
    return 0


@contextmanager
def _deployment(folder: Path | None) -> Iterator[Path]:
    """The folder to run: the one given, the repository's, or a copy of the packaged one, which is removed again."""
    place = folder or reference_folder()
    if place is None:
        raise GtmError("this gtm was installed without its reference deployment; name one with -C DIR")
    if folder is not None or (os.access(place, os.W_OK) and not installed(place)):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="gtm-demo-") as made:
        copy = Path(made) / "demo"
        parts = ("gtm.yaml", "zones", "probes", "geodata")
        copy.mkdir()
        for part in parts:
            source = place / part
            if source.is_dir():
                shutil.copytree(source, copy / part, copy_function=shutil.copyfile)
            elif source.exists():
                shutil.copyfile(source, copy / part)
        yield copy


# Starting


def wanted(deployment: Deployment) -> dict[tuple[IPAddress, int], str]:
    """The stand-ins that a deployment needs, (address, port) -> region. Raises GtmError for what is not on loopback."""
    found: dict[tuple[IPAddress, int], str] = {}
    for pool in deployment.pools.values():
        for instance in pool.instances:
            target = pool.target(instance)
            if target is None:
                continue
            if not target.address.is_loopback:
                raise GtmError(f"{target.address} in {instance.region} is not a loopback address; the demo needs those")
            probe = deployment.checks[target.check].probe
            if not isinstance(probe, HttpProbe | TcpProbe):
                raise GtmError(f"check {target.check}: the demo can stand in for http and tcp checks only")
            found[target.address, probe.port] = instance.region
    return found


def _start_standins(deployment: Deployment, standins: list[Standin], stop: _Stop) -> None:
    """Start them all, then wait for each to say that it listens. Raises GtmError with what one said instead."""
    counted: dict[str, int] = {}
    for (address, port), region in wanted(deployment).items():
        endpoint = Endpoint(address=address, port=port)
        number = counted[region] = counted.get(region, 0) + 1
        command = ("gtm.app.standin", str(endpoint), "--name", f"{region}-{number}", "--region", region)
        process = _spawn(command, signal.SIGKILL)
        standins.append(Standin(endpoint=endpoint, region=region, command=command, process=process))
    for standin in standins:
        if not _first_line(standin.process, STANDIN_START_S, stop) and not stop.signalled:
            raise GtmError(
                f"the stand-in for {standin.endpoint} in {standin.region} did not start (see above); "
                "is another demo running?"
            )


def _start_serve(place: Path, stop: _Stop, *, in_json: bool) -> subprocess.Popen[bytes] | None:
    """Start `gtm serve` and wait until it serves; None if that was interrupted. Raises GtmError if it does not."""
    arguments = ("gtm.cli.main", "serve", *(("--json",) if in_json else ()), "-C", str(place))
    process = _spawn(arguments, signal.SIGTERM)
    said = _first_line(process, SERVE_START_S, stop)
    if stop.signalled:
        _stop_process(process)
        return None
    if not said:
        _stop_process(process)
        raise GtmError("the name server did not start; what it said is above")
    return process


def _spawn(arguments: Sequence[str], on_parents_death: signal.Signals) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_mortal(on_parents_death),  # noqa: PLW1509 - the demo has no threads
    )


def _mortal(number: signal.Signals) -> Callable[[], None]:
    """What a child does before it becomes its program: have itself signalled when its parent dies (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def _first_line(process: subprocess.Popen[bytes], seconds: float, stop: _Stop) -> bytes:
    """The first line that a child prints, or b"" if it ends, stays silent, or we are told to stop."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    while not stop.signalled and time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.2)
        if readable:
            return process.stdout.readline()
    return b""


# Running


def _stay(
    place: Path, standins: Sequence[Standin], serving: subprocess.Popen[bytes], stop: _Stop, *, in_json: bool
) -> subprocess.Popen[bytes] | None:
    """Say what dies, and start a controller that was killed again, until told to stop; the controller as it is then."""
    gone: set[int] = set()
    while not stop.wait(0.5):
        for standin in standins:
            code = standin.process.poll()
            if code is not None and standin.process.pid not in gone:
                gone.add(standin.process.pid)
                again = " ".join((sys.executable, "-m", *standin.command))
                _say(f"the stand-in {standin.endpoint} in {standin.region} has ended; to start it again:\n  {again}")
        if serving.poll() is not None:
            _say(f"the controller has ended; the workers answer on. It is started again in {RESTART_S:.0f} s.")
            if stop.wait(RESTART_S):
                return None
            started = _start_serve(place, stop, in_json=in_json)
            if started is None:
                return None
            serving = started
            _say(f"the controller is back, as process {serving.pid}")
    return serving


def _end(place: Path, standins: Sequence[Standin], serving: subprocess.Popen[bytes] | None, *, begun: bool) -> None:
    """Stop the server, then the stand-ins, then what a killed controller left behind.

    Workers of the folder are another's where we have not `begun` to serve, or where another controller runs.
    """
    if serving is not None:
        _stop_process(serving)
    for standin in standins:
        standin.process.terminate()
        standin.process.send_signal(signal.SIGCONT)  # one that was stopped would not notice
    for standin in standins:
        _stop_process(standin.process)
    state = state_folder(place)
    if begun and holder(state, "controller") is None and left_behind(state):
        crew = Crew(state, roles(load(place).node, (), state, place))
        crew.dismiss()


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a child in order, or, if it does not, at once; and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


# Telling


def _tell(place: Path, deployment: Deployment, standins: Sequence[Standin], *, in_json: bool) -> None:
    if in_json:
        _say(json.dumps(demo_document(place, deployment, standins)))
    else:
        _say(hints(place, deployment, standins))


def demo_document(place: Path, deployment: Deployment, standins: Sequence[Standin]) -> dict[str, object]:
    """What runs, as JSON."""
    node = deployment.node
    return {
        "folder": str(place),
        "listen": [str(endpoint) for endpoint in node.listen],
        "api": None if node.api is None else str(node.api),
        "names": [name.owner for name in deployment.names],
        "standins": [{"address": str(one.endpoint), "region": one.region, "pid": one.process.pid} for one in standins],
    }


def hints(place: Path, deployment: Deployment, standins: Sequence[Standin]) -> str:
    """What to try next, to be typed as it stands."""
    node = deployment.node
    server = node.listen[0]
    dig = f"dig @{server.address} -p {server.port}"
    gtm = _program()
    here = "" if place.resolve() == Path.cwd() else f" -C {place}"
    name = next((one.owner for one in deployment.names), None)
    lines = [f"{node.name} serves DNS on {', '.join(map(str, node.listen))}, with {len(standins)} stand-ins."]
    if node.api is not None:
        lines.append(f"Status page: http://{node.api}/")
    if name is not None:
        name = name.removesuffix(".")
        region = standins[0].region if standins else next(iter(deployment.regions), "us-east")
        pids = " ".join(str(one.process.pid) for one in standins if one.region == region)
        lines += [
            "",
            "Try, in another terminal:",
            f"  {dig} {name} +subnet=128.112.0.0/16        a client in New Jersey",
            f"  {dig} {name} +subnet=133.11.0.0/16         one in Tokyo",
            f"  {gtm} explain {name} --from US-NY{here}",
            f"  {gtm} status{here}",
            "",
            f"Take {region} away, and watch the answers move:",
            f"  {gtm} drain region/{region} --reason 'trying it out' --for 10m{here}",
            f"  {gtm} undrain region/{region}{here}",
            "or stop its load balancers, and let them go on again:",
            f"  kill -STOP {pids}",
            f"  kill -CONT {pids}",
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything that the demo started."])


def _program() -> str:
    """How this program was called, as one would type it again."""
    called = sys.argv[0]
    if Path(called).name != "gtm":
        return f"{sys.executable} -m gtm.cli.main"
    on_path = shutil.which("gtm")
    if on_path is not None and Path(on_path).resolve() == Path(called).resolve():
        return "gtm"
    path = Path(called).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
