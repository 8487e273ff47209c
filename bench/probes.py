"""What 10,000 HTTP checks each 10 s cost: CPU of the prober's process, start delays and missed intervals, with
targets that refuse, hang or are slow; beside HAProxy's own checks of as many servers. Needs Debian's `haproxy nginx`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import asyncio
import contextlib
import cProfile
import datetime as dt
import gc
import json
import pstats
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.machine import cpu_time, describe
from bench.table import lay_out
from gtm.model.check import Cadence, Check, HttpProbe, Target, Tls
from gtm.model.health import Result
from gtm.observe.counters import Counters
from gtm.observe.prober import Prober

FIRST = IPv4Address("127.16.0.1")
NAME = "bench.example.com"
INTERVAL_S = 10.0
TIMEOUT_S = 3.0
SLOW_S = 2.0
OURS, THEIRS = 0, 1  # cores

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """So many targets, a share of which is not good in some way."""

    targets: int
    share: float = 0.0
    way: str = "good"
    reuse: bool = False
    tls: bool = False

    def __str__(self) -> str:
        words = "good" if not self.share else f"{self.share:.0%} {self.way}"
        return f"{'HTTPS' if self.tls else 'HTTP'} {self.targets} {words}{', reuse' if self.reuse else ''}"


@dataclass(slots=True, kw_only=True)
class Recording(Counters):
    """Counters that keep every start's delay."""

    delays_s: list[float] = field(default_factory=list)

    def start(self, delay_s: float) -> None:
        Counters.start(self, delay_s)
        self.delays_s.append(delay_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--tls-targets", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, after the first round")
    parser.add_argument("--quick", action="store_true", help="three cases, five seconds each")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--profile", action="store_true", help="where the time goes, of the first case")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(asyncio.run(child(**json.loads(options.case)))))
        return
    if missing := [name for name in ("haproxy", "nginx") if shutil.which(name) is None]:
        raise SystemExit(f"{', '.join(missing)} needed: apt-get install haproxy nginx")
    if options.quick:
        options.seconds = min(options.seconds, 5.0)
    chosen = cases(options.targets, options.tls_targets, quick=options.quick)
    if options.only:
        chosen = [case for case in chosen if options.only in str(case)]
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as ports:
        found = {str(case): ran(case, ports, Path(folder), options) for case in chosen}
        peer = None if options.profile else haproxy(Path(folder), options.targets, ports["good"], options.seconds)
    if options.json:
        print(json.dumps({"machine": describe(), "gtm": found, "haproxy": peer}, indent=2))
        return
    print(*(f"{key}: {value}" for key, value in describe().items()), sep="\n", end="\n\n")
    heads = ["case", "CPU %", "us/check", "checks/s", "delay p50 ms", "p99", "max", "missed", "of HAProxy"]
    rows = [row(name, figures, peer) for name, figures in found.items()]
    if peer is not None:
        rows.append([f"HAProxy {options.targets} good", f"{peer['cpu']:.1f}", f"{peer['us']:.0f}", *["-"] * 6])
    print(lay_out(heads, rows))


def cases(count: int, tls_count: int, *, quick: bool) -> list[Case]:
    if quick:
        return [
            Case(targets=count, reuse=True),
            Case(targets=count),
            Case(targets=count, share=0.5, way="hanging"),
        ]
    mixes = [(0.0, "good"), *((share, way) for share in (0.01, 0.5) for way in ("refused", "hanging", "slow"))]
    plain = [Case(targets=count, share=s, way=way, reuse=reuse) for reuse in (True, False) for s, way in mixes]
    return [*plain, Case(targets=tls_count, reuse=True, tls=True), Case(targets=tls_count, tls=True)]


def row(name: str, figures: Figures, peer: Figures | None) -> list[str]:
    delays = [f"{figures[key] * 1e3:.1f}" for key in ("delay_p50_s", "delay_p99_s", "delay_max_s")]
    ratio = "-" if peer is None or name.startswith("HTTPS") else f"{figures['us'] / peer['us']:.1f}"
    rate = f"{figures['checks'] / figures['seconds']:.0f}"
    return [name, f"{figures['cpu']:.1f}", f"{figures['us']:.0f}", rate, *delays, f"{figures['missed']:.0f}", ratio]


def ran(case: Case, ports: dict[str, int], folder: Path, options: argparse.Namespace) -> Figures:
    """The figures of a case, by a process of its own on a core of its own."""
    wanted = {
        "case": asdict(case), "ports": ports, "ca_file": str(folder / "ca.pem"), "seconds": options.seconds,
        "profile": options.profile,
    }  # fmt: skip
    command = ["taskset", "-c", str(OURS), sys.executable, __file__, "--case", json.dumps(wanted)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


async def child(
    *, case: dict[str, object], ports: dict[str, int], ca_file: str, seconds: float, profile: bool
) -> Figures:
    what = Case(**case)  # type: ignore[arg-type]
    prober, gaps = made(what, ports, ca_file)
    counters = prober.counters = Recording()
    gc.collect()
    gc.freeze()  # as the controller does with what it has read
    task = asyncio.create_task(prober.run())
    began_s = time.monotonic()
    if not await prober.first_round():
        raise SystemExit("not every target had a result")
    first_s = time.monotonic() - began_s
    await asyncio.sleep(2.0)
    counters.delays_s.clear()
    gaps.clear()
    before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    ended = counters.ok + sum(counters.failed.values())
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    await asyncio.sleep(seconds)
    profiler.disable()
    after, lasted_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began_s
    checks = counters.ok + sum(counters.failed.values()) - ended
    delays_s = sorted(counters.delays_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu": 100 * cpu_s / lasted_s,
        "user": 100 * (after.ru_utime - before.ru_utime) / lasted_s,
        "us": 1e6 * cpu_s / checks,
        "checks": checks,
        "seconds": lasted_s,
        "first_round_s": first_s,
        "delay_p50_s": delays_s[len(delays_s) // 2],
        "delay_p99_s": delays_s[len(delays_s) * 99 // 100],
        "delay_max_s": delays_s[-1],
        "missed": sum(1 for gap_s in gaps if gap_s > INTERVAL_S + 0.2),
        **{f"failed_{reason}": float(count) for reason, count in counters.failed.items()},
    }


def made(case: Case, ports: dict[str, int], ca_file: str) -> tuple[Prober, list[float]]:
    """The prober, and the seconds between two starts at a target as they are seen by their results."""
    cadence = Cadence(interval_s=INTERVAL_S, timeout_s=TIMEOUT_S)
    tls = Tls(server_name=NAME, ca_file=ca_file) if case.tls else None
    checks = {
        way: Check(name=way, probe=HttpProbe(port=port, path="/healthz", reuse=case.reuse, tls=tls), cadence=cadence)
        for way, port in ports.items()
    }
    bad = round(case.targets * case.share)
    ways = ["tls" if case.tls else "good"] * case.targets
    for index in range(bad):
        ways[index * case.targets // bad] = case.way
    targets = {
        Target(check=way, address=FIRST + index): checks[way] for index, way in enumerate(ways)
    }  # fmt: skip
    last_s: dict[Target, float] = {}
    gaps: list[float] = []

    def note(target: Target, result: Result) -> None:
        start_s = time.monotonic() - result.took_s
        gaps.append(start_s - last_s.get(target, start_s))
        last_s[target] = start_s

    return Prober(targets, note), gaps


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, int]]:
    """nginx, and HAProxy where it is slow, on every address of loopback; the ports of the ways in which they answer."""
    certificate(folder)
    ports = {way: free() for way in ("good", "slow", "hanging", "tls", "refused")}
    config = f"""
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout client 60s
    timeout http-request 60s
frontend slow
    bind 0.0.0.0:{ports["slow"]} backlog 4096
    timeout tarpit {SLOW_S:g}s
    http-request tarpit deny_status 200
frontend hanging
    bind 0.0.0.0:{ports["hanging"]} backlog 4096
    timeout tarpit 60s
    http-request tarpit deny_status 200
"""
    good = f"""
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    keepalive_timeout 60s;
    keepalive_requests 1000000;
    client_body_temp_path {folder};
    server {{
        listen 0.0.0.0:{ports["good"]} backlog=4096;
        listen 0.0.0.0:{ports["tls"]} ssl backlog=4096;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        default_type text/plain;
        location / {{ return 200 "ok"; }}
    }}
}}
"""
    (folder / "nginx.cfg").write_text(good)
    (folder / "haproxy.cfg").write_text(config)
    nginx = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.cfg")]
    with started(THEIRS, *nginx), started(THEIRS, "haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg")):
        wait(ports["good"])
        wait(ports["slow"])
        yield ports


def haproxy(folder: Path, count: int, port: int, seconds: float) -> Figures:
    """What HAProxy's own checks cost: one thread, a connection for each check, as it does them."""
    lines = "\n".join(
        f"    server s{index} {FIRST + index}:{port} check inter {INTERVAL_S:g}s" for index in range(count)
    )
    page = free()
    config = f"""
global
    nbthread 1
    maxconn 100
defaults
    mode http
    timeout connect {TIMEOUT_S:g}s
    timeout check {TIMEOUT_S:g}s
    timeout client 60s
    timeout server 60s
frontend page
    bind 127.0.0.1:{page}
    http-request return status 200
backend checked
    option httpchk GET /healthz
{lines}
"""
    (folder / "peer.cfg").write_text(config)
    with started(OURS, "haproxy", "-db", "-q", "-f", str(folder / "peer.cfg")) as process:
        wait(page)
        time.sleep(INTERVAL_S + 2)  # its first round is spread over the interval
        before, began_s = cpu_time([process.pid]), time.monotonic()
        time.sleep(max(seconds, INTERVAL_S))
        cpu_s, lasted_s = (cpu_time([process.pid]) - before).run_ns / 1e9, time.monotonic() - began_s
    return {"cpu": 100 * cpu_s / lasted_s, "us": 1e6 * cpu_s / (lasted_s * count / INTERVAL_S), "seconds": lasted_s}


@contextlib.contextmanager
def started(core: int, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["taskset", "-c", str(core), *command], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(port: int) -> None:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit("the servers do not answer")


def free() -> int:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        return int(sock.getsockname()[1])


def certificate(folder: Path) -> None:
    """A certificate for NAME, which is its own authority."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(public + private)
    (folder / "server.pem").chmod(0o600)


if __name__ == "__main__":
    main()
