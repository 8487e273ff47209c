"""When each steered set was last asked: every worker notes it in a file of its own, and the controller reads them all.

state/workers/NAME.asked is a header (what the numbers are of: see `identity`) and a word for each set: the minute, on
the boot clock, up to which it may have been asked. Noting costs one assignment where a query is studied; those that
are remembered are studied again in each time step (pick.STEP_S), so a mark is of the end of its step: never too early,
and less than six minutes late. A worker counts everything as asked when it takes up a table of other sets, and the
file of one that has died goes on counting until its marks are old.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil
from pathlib import Path
from struct import Struct
from typing import Protocol

from gtm.answer.compile import Layout
from gtm.answer.marks import Marks
from gtm.answer.pick import STEP_S
from gtm.app.crew import FOLDER
from gtm.decide.flip import probed
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.publish.dns.control import boot_id

SUFFIX = ".asked"
IDLE_AFTER_S = 900.0

_HEADER = Struct("=8s16sI4x")  # magic, identity, number of sets; then a word for each
_MAGIC = b"gtm-ask1"
_MINUTE_S = 60


class Laid(Protocol):
    """The files of a deployment that say what its sets are: publish.dns's Base and Manifest are such."""

    @property
    def authority(self) -> str:
        """The zones and the numbers of the sets."""

    @property
    def deployment(self) -> str:
        """What the sets are of."""


def identity(laid: Laid) -> bytes:
    """16 octets that are different where set numbers mean something else, and after each boot of the machine."""
    return blake2b(f"{boot_id()} {laid.authority} {laid.deployment}".encode(), digest_size=16).digest()


def clock_s() -> float:
    """Seconds since the machine booted: stepping the wall clock makes nothing look idle."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Asked:
    """A worker's end. The file is opened once, so that it can be written without the right to make files."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises StoreError."""
        try:
            self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        self._path = path
        self._laid: tuple[str, str] | None = None
        self._words: memoryview = memoryview(b"")

    def marks(self, laid: Laid, sets: int) -> Marks:
        """The marks for a table of so many sets, until the end of this time step. Raises StoreError."""
        left_s = STEP_S - time.time() % STEP_S
        now = ceil((clock_s() + left_s) / _MINUTE_S)
        if (laid.authority, laid.deployment) != self._laid:
            self._laid = None
            try:
                self._words = self._begin(identity(laid), sets, now)
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error
            self._laid = laid.authority, laid.deployment
        return Marks(self._words, now)

    def _begin(self, wanted: bytes, sets: int, now: int) -> memoryview:
        """Words that all say `now`. The file never shrinks: an earlier table's marks may still be mapped."""
        self._write(bytes(_HEADER.size), 0)  # until all is written it belongs to no table
        self._write(array("I", [now]).tobytes() * sets, _HEADER.size)
        mapped = mmap.mmap(self._number, _HEADER.size + 4 * sets)
        self._write(_HEADER.pack(_MAGIC, wanted, sets), 0)
        return memoryview(mapped)[_HEADER.size :].cast("I")

    def _write(self, data: bytes, at: int) -> None:
        """Real blocks: a hole that the disk has no room for would end the process when it is marked."""
        if os.pwrite(self._number, data, at) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def last_asked(state: Path, laid: Laid, sets: int, now_s: float) -> Sequence[int]:
    """For each set the minute on the boot clock at which any worker of a node was last asked for it.

    `now_s` is `clock_s()`; that is what is given for all where no worker has taken up these sets yet.
    """
    wanted = identity(laid)
    newest: array[int] | None = None
    for path in (state / FOLDER).glob(f"*{SUFFIX}"):
        words = _read(path, wanted, sets)
        if words is not None:
            newest = words if newest is None else array("I", map(max, newest, words))
    return array("I", [int(now_s // _MINUTE_S)]) * sets if newest is None else newest


def _read(path: Path, wanted: bytes, sets: int) -> array[int] | None:
    """The words of a file, if they are of these sets."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    end = _HEADER.size + 4 * sets
    if len(data) < end or _HEADER.unpack_from(data) != (_MAGIC, wanted, sets):
        return None
    return array("I", data[_HEADER.size : end])


def idle_targets(
    layout: Layout, deployment: Deployment, last: Sequence[int], now_s: float, after_s: float = IDLE_AFTER_S
) -> frozenset[Target]:
    """The probed targets that no name needs which was asked in the last `after_s`, of checks with an idle interval.

    `last` and `now_s` are `last_asked` and `clock_s`. A pool without names is never asked for. A target that a composed
    check looks at is needed where the composed one is. Takes 55 ms for 20,000 targets: call it from a thread.
    """
    checks = deployment.checks
    if all(check.cadence.idle_s is None for check in checks.values()):
        return frozenset()
    since = (now_s - after_s) / _MINUTE_S
    needed: set[Target] = set()
    others: set[Target] = set()
    for pool in deployment.pools.values():
        asked = any(last[number] > since for number in layout.of_pool.get(pool.name, ()))
        found = needed if asked else others
        for target in pool.targets():
            found.update(probed(target, checks))
    return frozenset(target for target in others - needed if checks[target.check].cadence.idle_s is not None)


def idle(state: Path, laid: Laid, layout: Layout, deployment: Deployment) -> frozenset[Target]:
    """The idle targets of a node now, from what its workers noted. Call it from a thread, every minute or so."""
    now_s = clock_s()
    return idle_targets(layout, deployment, last_asked(state, laid, len(layout.shapes), now_s), now_s)
