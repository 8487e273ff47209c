"""BFD sessions as the daemon beside ExaBGP has them: FRR's bfdd through vtysh, or BIRD through its control socket."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gtm.app.announce.beside import ask_bird, ask_frr
from gtm.model.errors import PeerError
from gtm.web.status import BfdStatus

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
    """The BFD sessions of this machine: of BIRD where its socket is there, else of FRR. Two seconds at most."""
    try:
        for path in bird:
            if path.exists():
                return Sessions(daemon="bird", sessions=parse_bird(ask_bird(path, ["show bfd sessions"])[0]))
        if (frr / "bfdd.vty").exists():
            return Sessions(daemon="frr", sessions=parse_frr(ask_frr(frr, "bfdd", "show bfd peers json")))
    except PeerError as error:
        return Sessions(problem=str(error))
    return Sessions(problem="neither FRR's bfdd nor BIRD runs here")


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
