"""FRR and BIRD of this machine, asked what they know: the one through vtysh, the other on its control socket."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gtm.model.errors import PeerError

WAIT_S = 1.0
ANSWER_MAX_BYTES = 4 * 1024 * 1024


def ask_frr(folder: Path, daemon: str, command: str) -> str:
    """What a daemon of FRR, whose vty sockets are in a folder, answers to a command. Raises PeerError."""
    vtysh = shutil.which("vtysh") or "/usr/bin/vtysh"
    words = (vtysh, "--vty_socket", str(folder), "-d", daemon, "-c", command)
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False)
    except OSError as error:
        raise PeerError(f"{(error.strerror or str(error)).lower()}", peer="vtysh") from error
    except subprocess.TimeoutExpired:
        raise PeerError(f"no answer within {WAIT_S:g} s", peer="vtysh") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise PeerError(f"{said[-1][:200] if said else f'exit code {done.returncode}'}", peer="vtysh")
    return done.stdout[:ANSWER_MAX_BYTES].decode("utf-8", "replace")


def ask_bird(path: Path, commands: Sequence[str]) -> tuple[str, ...]:
    """All that BIRD answers to each command; lines begin with a code, the last one with 0xxx or an error.

    Raises PeerError.
    """
    answers = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(WAIT_S)
            control.connect(str(path))
            _until(control, rb"(?m)^0001 .*\n")
            for command in commands:
                control.sendall(command.encode() + b"\n")
                said = _until(control, rb"(?m)^(?:0\d\d\d|[89]\d\d\d) ?.*\n")
                answers.append(said.decode("utf-8", "replace"))
    except OSError as error:
        raise PeerError(f"{path}: {(error.strerror or str(error)).lower()}", peer="BIRD") from error
    return tuple(answers)


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
