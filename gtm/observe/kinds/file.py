"""A result that something else leaves in a file.

One line, `up`, `degraded` or `down` with words after it if wanted; or JSON, {"health": "up", "detail": "..."}. The file
is old `ttl_s` after it was last written; then it says nothing of the target any more.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from gtm.model.check import FileProbe, Target
from gtm.observe.attempt import Attempt
from gtm.observe.kinds.words import printable
from gtm.observe.outcome import ProbeFault, Reason

SIZE_MAX_BYTES = 4096
_ALLOWED = "allowed: up, degraded or down, and words after it; or a JSON object with health and detail"


class FileAsk:
    """Reads the file. Nothing here waits: a folder that can hang (NFS) is no place for results."""

    __slots__ = ("_path", "_ttl_s")

    def __init__(self, target: Target, probe: FileProbe) -> None:
        self._path = Path(probe.path.replace("{address}", str(target.address)))
        self._ttl_s = probe.ttl_s

    async def __call__(self, attempt: Attempt) -> str:
        """What the file says. Raises ProbeFault; it is ours where the file says nothing of the target."""
        attempt.doing = "reading the file"
        text, age_s = self._read()
        if age_s > self._ttl_s:
            raise ProbeFault(Reason.OURS, f"no fresh result: {self._path} is {age_s:.0f} s old")
        if age_s < -self._ttl_s:
            raise ProbeFault(Reason.OURS, f"no fresh result: {self._path} is from the future")
        health, words = _parse(text, self._path)
        if health == "down":
            raise ProbeFault(Reason.STATUS, words or "down")
        if health == "degraded":
            attempt.poor = words or "degraded"
        return words or health

    def _read(self) -> tuple[str, float]:
        """The file's text and its age in seconds by the wall clock, which is what its writer had."""
        try:
            # O_NONBLOCK: a pipe in the file's place must not hold up everything else.
            with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ProbeFault(Reason.OURS, f"no fresh result: {self._path} is no regular file")
                data = file.read(SIZE_MAX_BYTES + 1)
        except OSError as error:
            raise ProbeFault(Reason.OURS, f"no fresh result: {self._path}: {error.strerror}") from error
        if len(data) > SIZE_MAX_BYTES:
            raise ProbeFault(Reason.OURS, f"no fresh result: {self._path} is longer than {SIZE_MAX_BYTES} bytes")
        return data.decode("utf-8", "replace"), time.time() - status.st_mtime


def _parse(text: str, path: Path) -> tuple[str, str]:
    """(up, degraded or down; the words beside it). Raises ProbeFault (ours) for anything else."""
    if text.lstrip().startswith("{"):
        health, words = _parse_json(text, path)
    else:
        line = text.strip().split("\n", 1)[0]
        health, _, words = line.partition(" ")
    health = health.strip().rstrip(":").lower()
    if health not in {"up", "degraded", "down"}:
        raise ProbeFault(Reason.OURS, f"no fresh result: {path} says {printable(health, 40)!r} ({_ALLOWED})")
    return health, printable(words.strip())


def _parse_json(text: str, path: Path) -> tuple[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProbeFault(Reason.OURS, f"no fresh result: {path} is not JSON ({_ALLOWED})") from error
    health, words = found.get("health", ""), found.get("detail", "")
    if not isinstance(health, str) or not isinstance(words, str):
        raise ProbeFault(Reason.OURS, f"no fresh result: {path} has no health ({_ALLOWED})")
    return health, words
