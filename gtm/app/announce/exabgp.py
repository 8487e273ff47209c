"""The ExaBGP of this machine: which one, what it would run as, and what it says of a configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gtm.model.errors import GtmError

PATIENCE_S = 60.0

_SECTION = re.compile(r"\[exabgp\.([a-z]+)\]")
_SETTING = re.compile(r"([a-z-]+)\s*=\s*'?(.*?)'?")
_VERSION = re.compile(r"\b([0-9]+)\.([0-9]+)\.([0-9]+)")
_PREFIX = re.compile(r"^(?:configuration|parser|error:)\s+")
_NOISE = re.compile(r"^(?:loading \S+|✓ loading|configuration|)$")


def find_exabgp(program: str | None = None) -> str | None:
    """The program: the one that is named, else the one beside this Python, else on PATH; None if there is none.

    Raises GtmError if the named one is not there.
    """
    if program is not None:
        found = shutil.which(program)
        if found is None:
            raise GtmError(f"{program}: is not a program that can be run")
        return found
    beside = Path(sys.executable).parent / "exabgp"
    return str(beside) if beside.is_file() else shutil.which("exabgp")


def version(program: str) -> tuple[int, int, int] | None:
    """Its version, None if it does not say. Raises GtmError if it cannot be run."""
    found = _VERSION.search(_ran(program, "version")[1]) or _VERSION.search(_ran(program, "--version")[1])  # 5.0, 4.2
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def settings(program: str) -> Mapping[str, str]:
    """What its environment comes to here (variables and exabgp.env), such as {"daemon.user": "nobody"}.

    Raises GtmError if it cannot be run.
    """
    found: dict[str, str] = {}
    section = ""
    for line in _ran(program, "env")[1].splitlines():
        if heading := _SECTION.fullmatch(line.strip()):
            section = heading[1]
        elif section and (setting := _SETTING.fullmatch(line.strip())):
            found[f"{section}.{setting[1]}"] = setting[2]
    return found


def objections(program: str, text: str) -> tuple[str, ...]:
    """What it has against a configuration, by line; nothing if it takes it. Raises GtmError if it cannot be run."""
    with tempfile.TemporaryDirectory(prefix="gtm-announce-") as folder:
        file = Path(folder) / "exabgp.conf"
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
        code, said = _ran(program, "validate", "--neighbor", str(file))
        lines = [_PREFIX.sub("", line.strip(" ;:").replace(str(file), "exabgp.conf")) for line in said.splitlines()]
    if code == 0:
        return ()
    return tuple(dict.fromkeys(line for line in lines if not _NOISE.match(line))) or (f"it ended with {code}",)


def _ran(program: str, *arguments: str) -> tuple[int, str]:
    """Its exit code, and what it said. Raises GtmError."""
    try:
        outcome = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    except OSError as error:
        raise GtmError(f"{program}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise GtmError(f"{program}: did not end within {PATIENCE_S:g} s") from error
    return outcome.returncode, outcome.stdout.decode("utf-8", "replace")
