"""A node's transitions and runs as JSON lines, for another node's `gtm check tune --with`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from math import isfinite
from pathlib import Path

from gtm.model.check import Target
from gtm.model.chronicle import Outcome, Run, Transition
from gtm.model.errors import GtmError
from gtm.web.document import as_object

FORMAT = {"gtm_chronicle": 1}


def write(path: Path, transitions: Iterable[Transition], runs: Iterable[Run]) -> None:
    """Write both into a file, whole or not at all. Raises GtmError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line, separators=(',', ':'))}\n" for line in _lines(transitions, runs))
        fresh.replace(path)
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def read(path: Path) -> Iterator[Run]:
    """The runs of an exported file. Raises GtmError, with file and line, for what is none."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                found = _object(path, number, line)
                if number == 1 and found != FORMAT:
                    raise GtmError(f"{path}:1: is not what `gtm check log --export` writes")
                if "run" in found:
                    yield _run(path, number, found["run"])
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GtmError(f"{path}: is not UTF-8 text") from error


def _lines(transitions: Iterable[Transition], runs: Iterable[Run]) -> Iterator[object]:
    yield FORMAT
    yield from ({"transition": as_object(one)} for one in transitions)
    yield from ({"run": as_object(run)} for run in runs)


def _object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise GtmError(f"{path}:{number}: is not a JSON object")
    return found


def _run(path: Path, number: int, found: object) -> Run:
    try:
        if not isinstance(found, dict):
            raise TypeError("a run is an object")
        check, at, address = str(found["target"]).partition("@")
        if not at:
            raise ValueError("target is not CHECK@ADDRESS")
        run = Run(
            target=Target(check=check, address=ip_address(address)),
            vantage=str(found["vantage"]),
            outcome=Outcome(found["outcome"]),
            first_at_s=_number(found["first_at_s"]),
            last_at_s=_number(found["last_at_s"]),
            count=int(_number(found["count"])),
            took_min_s=_number(found["took_min_s"]),
            took_mean_s=_number(found["took_mean_s"]),
            took_max_s=_number(found["took_max_s"]),
            detail=str(found["detail"]),
        )
        if run.count < 1 or run.last_at_s < run.first_at_s:
            raise ValueError("it ends before it begins")
    except KeyError as error:
        raise GtmError(f"{path}:{number}: the run has no {error.args[0]}") from error
    except (ValueError, TypeError) as error:
        raise GtmError(f"{path}:{number}: is not a run: {error}") from error
    return run


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return value
    raise TypeError(f"{value!r} is not a number")
