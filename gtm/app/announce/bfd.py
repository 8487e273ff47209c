"""BFD sessions as the daemon beside ExaBGP has them: FRR's bfdd through vtysh, or BIRD through its control socket."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gtm.model.errors import PeerError
from gtm.web.status import BfdStatus

WAIT_S = 1.0
ANSWER_MAX_BYTES = 4 * 1024 * 1024
FRR_FOLDER, BIRD_SOCKETS = Path("/run/frr"), (Path("/run/bird/bird.ctl"), Path("/var/run/bird.ctl"))
_STATES = {"up": True, "down": False, "init": False, "admindown": False, "shutdown": False}
# " 10.63.0.1   ev0   Up   12:00:00.000   0.050   0.150": the date has a blank in some of BIRD's formats
_ROW = re.compile(r"\s*([0-9a-fA-F.:]+)(?:%\S+)?\s+(\S+)\s+(\w+)\s+(\S.*?)\s+([0-9.]+)\s+([0-9.]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions there are, by which daemon ("frr", "bird"); or why that is not known."""

    daemon: str | None = None
    sessions: tuple[BfdStatus, ...] = ()
    problem: str | None = None


def read_sessions(*, frr: Path = FRR_FOLDER, bird: tuple[Path, ...] = BIRD_SOCKETS) -> Sessions:
    """The BFD sessions of this machine: of BIRD where its socket is there, else of FRR. It takes a second at most."""
    try:
        for path in bird:
            if path.exists():
                return Sessions(daemon="bird", sessions=parse_bird(_ask_bird(path)))
        if (frr / "bfdd.vty").exists():
            return Sessions(daemon="frr", sessions=parse_frr(_ask_frr(frr)))
    except PeerError as error:
        return Sessions(problem=str(error))
    return Sessions(problem="neither FRR's bfdd nor BIRD runs here")


def _ask_frr(folder: Path) -> str:
    vtysh = shutil.which("vtysh") or "/usr/bin/vtysh"
    command = (vtysh, "--vty_socket", str(folder), "-d", "bfdd", "-c", "show bfd peers json")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False)
    except OSError as error:
        raise PeerError(f"{(error.strerror or str(error)).lower()}", peer="vtysh") from error
    except subprocess.TimeoutExpired:
        raise PeerError(f"no answer within {WAIT_S:g} s", peer="vtysh") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise PeerError(f"{said[-1][:200] if said else f'exit code {done.returncode}'}", peer="vtysh")
    return done.stdout[:ANSWER_MAX_BYTES].decode("utf-8", "replace")


def parse_frr(text: str) -> tuple[BfdStatus, ...]:
    """The sessions in the JSON of `show bfd peers json`. Raises PeerError."""
    try:
        return tuple(
            BfdStatus(
                peer=ip_address(one["peer"]),
                up=_STATES.get(str(one["status"]).lower().replace("-", "")),
                since_s_ago=_number(one.get("uptime", one.get("downtime"))),
                transmit_ms=_number(one.get("transmit-interval")),
                receive_ms=_number(one.get("receive-interval")),
                multiplier=_count(one.get("detect-multiplier")),
            )
            for one in json.loads(text)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PeerError(f"`show bfd peers json` makes no sense: {type(error).__name__} {error}", peer="vtysh") from None


def _ask_bird(path: Path) -> str:
    """All that BIRD answers to `show bfd sessions`; its lines begin with a code, the last one with 0000 or an error."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(WAIT_S)
            control.connect(str(path))
            _until(control, rb"(?m)^0001 .*\n")
            control.sendall(b"show bfd sessions\n")
            said = _until(control, rb"(?m)^(?:0\d\d\d|[89]\d\d\d) ?.*\n")
    except OSError as error:
        raise PeerError(f"{path}: {(error.strerror or str(error)).lower()}", peer="BIRD") from error
    return said.decode("utf-8", "replace")


def _until(control: socket.socket, end: bytes) -> bytes:
    """What comes, up to a line that ends it. Raises OSError, PeerError."""
    said = b""
    while not re.search(end, said):
        more = control.recv(65536)
        if not more:
            raise PeerError("closed the connection", peer="BIRD")
        said += more
        if len(said) > ANSWER_MAX_BYTES:
            raise PeerError("an answer without end", peer="BIRD")
    return said


def parse_bird(text: str) -> tuple[BfdStatus, ...]:
    """The sessions in BIRD's answer. Raises PeerError where it refuses."""
    found = []
    for line in text.splitlines():
        if re.match(r"[89]\d\d\d", line):
            raise PeerError(f"{line[5:205]}", peer="BIRD")
        row = _ROW.fullmatch(re.sub(r"^\d{4}[- ]", " ", line))
        if row is None:
            continue
        try:
            peer = ip_address(row[1])
        except ValueError:
            continue
        # Its interval is that of sending, its timeout the time after which the peer is given up.
        interval_s, timeout_s = float(row[5]), float(row[6])
        found.append(
            BfdStatus(
                peer=peer,
                up=_STATES.get(row[3].lower()),
                transmit_ms=round(interval_s * 1000, 3),
                timeout_ms=round(timeout_s * 1000, 3),
            )
        )
    return tuple(found)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
