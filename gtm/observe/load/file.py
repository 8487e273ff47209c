"""Load from a JSON file that something on this machine keeps writing (in one go: aside, then renamed)."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path

from gtm.model.errors import AskedError, PeerError
from gtm.model.load import LoadFileSource
from gtm.observe.load.reading import Reading
from gtm.observe.load.subjects import Subjects
from gtm.wire import push

SIZE_MAX_BYTES = 4 * 1024 * 1024

Stamp = tuple[int, int, int]


class LoadFile:
    """A file of the form that pushed load has, with "at", the time of measuring in seconds since the epoch."""

    def __init__(self, source: LoadFileSource, subjects: Subjects) -> None:
        """Read this file; it need not be there yet."""
        self.name = source.path
        self._path = Path(source.path)
        self._subjects = subjects
        self._seen: Stamp | None = None

    async def close(self) -> None:
        """Nothing is kept open."""

    async def read(self) -> Reading | None:
        """What the file says, if it has changed since it was last read. Raises PeerError."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Reading | None:
        try:
            with open(self._path, "rb", opener=_at_once) as file:
                found = os.fstat(file.fileno())  # of what is open: the name may mean another file by now
                if not stat.S_ISREG(found.st_mode):
                    raise PeerError("is not a regular file", peer=self.name)
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                if stamp == self._seen:
                    return None
                body = file.read(SIZE_MAX_BYTES + 1)
        except OSError as error:
            self._seen = None
            raise PeerError((error.strerror or str(error)).lower(), peer=self.name) from error
        reading = self._parse(body)
        self._seen = stamp  # only now: what is wrong is said at every reading, until it is put right
        return reading

    def _parse(self, body: bytes) -> Reading:
        if len(body) > SIZE_MAX_BYTES:
            raise PeerError(f"is larger than {SIZE_MAX_BYTES} bytes", peer=self.name)
        try:
            found = push.loads(push.parse(body, what="file"), time.time())
        except AskedError as error:
            raise PeerError(str(error), peer=self.name) from None
        if found.at_s is None:
            raise PeerError('at: is missing (allowed: "at": seconds since the epoch)', peer=self.name)
        samples = tuple(one for one in found.samples if one.subject in self._subjects.known)
        return Reading(samples=samples, ignored=len(found.samples) - len(samples))


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for anybody to write, should it be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
