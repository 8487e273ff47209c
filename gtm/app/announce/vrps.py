"""A validator's JSON export of VRPs, as rpki-client and Routinator write it: read when it changes, kept in memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gtm.app.columns import duration
from gtm.decide.announce.rpki import Validity, Vrps, preflight
from gtm.model.address import IPNetwork
from gtm.model.anycast import Guard, RpkiMode, Service, Speaker
from gtm.model.errors import StoreError

SIZE_MAX_BYTES = 512 * 1024 * 1024  # all VRPs there are make some 60 MB; more than eight times that is no such file
ROWS_MAX = 8_000_000
TIME_MAX_S = 1e11
FUTURE_MAX_S = 300.0  # a validator's clock may be ahead of ours
_ASN = re.compile(r"(?:AS)?(\d{1,10})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The VRPs of a file, and when its validator wrote them (seconds since the epoch)."""

    vrps: Vrps
    at_s: float


def read_export(path: Path) -> Export:
    """A validator's export. Raises StoreError for a file that is none, is too large, or has a row that is no VRP.

    When it was made is `metadata.generated` (Routinator) or `metadata.buildtime` (rpki-client), and where neither is
    there the file's own time.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > SIZE_MAX_BYTES:
                raise StoreError(f"{path}: {found.st_size} octets are too many (at most {SIZE_MAX_BYTES})")
            document = json.loads(file.read(SIZE_MAX_BYTES + 1))
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("roas"), list):
        raise StoreError(f"{path}: is no validator's export: it has no list `roas`")
    if len(document["roas"]) > ROWS_MAX:
        raise StoreError(f"{path}: {len(document['roas'])} VRPs are too many (at most {ROWS_MAX})")
    if not document["roas"]:
        raise StoreError(f"{path}: has no VRP at all: its validator has not finished, or failed")
    try:
        vrps = Vrps(_rows(document["roas"]))
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from None
    return Export(vrps=vrps, at_s=_made_s(path, document.get("metadata"), found.st_mtime))


def _rows(roas: list[object]) -> Iterator[tuple[str, int, int]]:
    """The rows as Vrps takes them. Raises ValueError for one that is none."""
    for number, roa in enumerate(roas):
        try:
            prefix, length_max, asn = roa["prefix"], roa["maxLength"], roa["asn"]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            raise ValueError(f"roas[{number}] has not all of prefix, maxLength and asn") from None
        if not isinstance(prefix, str) or not isinstance(length_max, int) or isinstance(length_max, bool):
            said = f"{prefix!r:.60} up to {length_max!r:.20}"
            raise ValueError(f"roas[{number}]: {said} is not a prefix and a length")  # noqa: TRY004 - a file says it
        yield prefix, length_max, _asn(asn, number)


def _asn(asn: object, number: int) -> int:
    if isinstance(asn, int) and not isinstance(asn, bool):
        return asn
    found = _ASN.fullmatch(asn) if isinstance(asn, str) else None
    if found is None:
        raise ValueError(f"roas[{number}]: {asn!r:.40} is not an AS number")
    return int(found[1])


def _made_s(path: Path, metadata: object, otherwise_s: float) -> float:
    made = metadata if isinstance(metadata, dict) else {}
    generated = made.get("generated")
    if isinstance(generated, int | float) and not isinstance(generated, bool):
        if not abs(generated) < TIME_MAX_S:
            raise StoreError(f"{path}: metadata.generated: {generated!r:.40} is no time")
        return float(generated)
    for name in ("generatedTime", "buildtime"):
        text = made.get(name)
        if isinstance(text, str):
            try:
                return datetime.fromisoformat(text).timestamp()
            except (ValueError, OverflowError):
                raise StoreError(f"{path}: metadata.{name}: {text!r:.40} is no time") from None
    return otherwise_s


class Validator:
    """A validator's export, followed: `look` reads it when it has changed, `verdicts` asks what was read last.

    A file that cannot be read leaves what was known, until that is too old; then nothing is known any more, which
    refuses nothing: a validator's fault must not take a PoP away. `problem` says so.
    """

    def __init__(self, guard: Guard, folder: Path) -> None:
        """Nothing is read yet; `guard.vrps` is relative to the deployment folder."""
        self._path = None if guard.vrps is None or guard.rpki is RpkiMode.OFF else folder / guard.vrps
        self._age_max_s = guard.vrps_age_max_s
        self._stamp: tuple[int, int, int] | None = None
        self._export: Export | None = None
        self._fault: str | None = None

    def look(self) -> bool:
        """Read the file if it has changed; whether it had. It may take seconds: call it in a thread."""
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError as error:
            fault = f"{self._path}: {(error.strerror or str(error)).lower()}"
            changed, self._fault, self._stamp = fault != self._fault, fault, None
            return changed
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._export = read_export(self._path)
            self._fault = None
        except StoreError as error:
            self._fault = str(error)
        return True

    def verdicts(self, speaker: Speaker, service: Service, now_s: float) -> dict[IPNetwork, Validity]:
        """What RPKI says of the service's prefixes as the speaker originates them; empty where nothing is known."""
        if self._export is None or self._too_old(now_s):
            return {}
        found = preflight(self._export.vrps, speaker, service)
        return {prefix: finding.validity for prefix, finding in found.items()}

    def covering(self, speaker: Speaker, service: Service, now_s: float) -> dict[IPNetwork, tuple[str, ...]]:
        """The VRPs that cover each prefix, in words."""
        if self._export is None or self._too_old(now_s):
            return {}
        found = preflight(self._export.vrps, speaker, service)
        return {prefix: tuple(map(str, finding.covering)) for prefix, finding in found.items()}

    def problem(self, now_s: float) -> str | None:
        """Why nothing is known, or what is known is not renewed."""
        if self._path is None:
            return None
        if self._export is not None and self._too_old(now_s):
            age_s = now_s - self._export.at_s
            if age_s < 0:
                return self._fault or f"{self._path}: was made {duration(-age_s)} from now: not asked"
            return self._fault or (
                f"{self._path}: is {duration(age_s)} old (at most {duration(self._age_max_s)}): not asked"
            )
        return self._fault

    def _too_old(self, now_s: float) -> bool:
        if self._export is None:
            return True
        return not -FUTURE_MAX_S <= now_s - self._export.at_s <= self._age_max_s
