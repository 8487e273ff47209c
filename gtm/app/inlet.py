"""The API's inlet: what is pushed is checked against the deployment that is served, and left for the controller."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gtm.app.folders import store_file
from gtm.model.check import Check, Target
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError, Refused
from gtm.observe.load.subjects import Subjects
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import load_deployment
from gtm.store.inbox import Entry
from gtm.store.store import Store
from gtm.wire import push

TOKEN_MIN, TOKEN_MAX = 16, 1024


class TokenFile:
    """The word in a file, read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        """Of this file."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._token = b""

    def token(self) -> bytes:
        """The word now. Raises GtmError where there is none that will do."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            with self._lock:
                if stamp != self._seen:
                    self._token, self._seen = self._read(), stamp
                return self._token
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise GtmError(f"nothing can be pushed now: {self._path}: {said}") from error

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            word = file.read(TOKEN_MAX + 2).strip()
        if not TOKEN_MIN <= len(word) <= TOKEN_MAX or any(not 0x21 <= octet <= 0x7E for octet in word):
            raise GtmError(
                f"nothing can be pushed now: {self._path} holds no token (allowed: one word of {TOKEN_MIN} to "
                f"{TOKEN_MAX} printable ASCII characters, such as from `openssl rand -hex 32`)"
            )
        return word


class StateInlet:
    """The inlet of a state folder: what the API process hands over."""

    def __init__(self, state: Path, token_file: Path) -> None:
        """For this state folder; nothing is opened yet."""
        self._state = state
        self._token = TokenFile(token_file)
        self._lock = threading.Lock()
        self._served: tuple[str, Wanted] | None = None
        self._store: Store | None = None

    def token(self) -> bytes:
        """The word that whoever pushes must know. Raises GtmError."""
        return self._token.token()

    def take(self, kind: str, body: bytes) -> int:
        """Take in a body, all of it; how many results that were. Raises AskedError, Refused, StoreError."""
        with self._lock:
            entries = read(kind, push.parse(body), self._wanted(), time.time())
            if self._store is None:
                self._store = Store(store_file(self._state))
            self._store.changes()  # opens the file again where it has been replaced
            self._store.deliver(entries)
            return len(entries)

    def _wanted(self) -> Wanted:
        """What the deployment that is served wants, worked out again when another one is."""
        manifest = Manifest.load(self._state / TABLES)
        if self._served is None or self._served[0] != manifest.deployment:
            self._served = (manifest.deployment, Wanted.of(load_deployment(self._state, manifest)))
        return self._served[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a deployment wants pushed: results of these targets, load of these subjects, times to these regions.

    `load` and `rtt` are empty where the deployment does not want them.
    """

    checks: Mapping[Target, Check]
    load: frozenset[str]
    rtt: frozenset[str]

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """What this deployment wants."""
        load_wanted = deployment.load is not None and deployment.load.reports
        rtt_wanted = deployment.rtt is not None and deployment.rtt.reports
        return cls(
            checks=deployment.targets(),
            load=Subjects.of(deployment).known if load_wanted else frozenset(),
            rtt=frozenset(deployment.regions) if rtt_wanted else frozenset(),
        )


def read(kind: str, document: object, wanted: Wanted, now_s: float) -> tuple[Entry, ...]:
    """The results in a document of a kind ("health", "load", "rtt"). Raises AskedError, Refused."""
    match kind:
        case "health":
            return push.healths(document, wanted.checks, now_s)
        case "load":
            return push.loads(document, now_s, reports("load", wanted.load)).samples
        case "rtt":
            return push.rtts(document, reports("rtt", wanted.rtt), now_s)
        case _:
            raise AskedError("is not health, load or rtt", argument="kind")


def reports(what: str, known: frozenset[str]) -> frozenset[str]:
    """What is known, if reports are wanted of it. Raises Refused."""
    if not known:
        raise Refused(f"probes/{what}.yaml of the deployment does not say `reports: true`", guard="reports")
    return known
