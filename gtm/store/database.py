"""One SQLite file: made whole or not at all, used by several processes at once, every fault a StoreError in words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.store.schema import APPLICATION_ID, MIGRATIONS, VERSION

BUSY_S = 5.0
MODE = 0o600

_WORDS = {
    sqlite3.SQLITE_BUSY: f"another process has held it locked for more than {BUSY_S:g} s",
    sqlite3.SQLITE_LOCKED: "another user of it in this process has it locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it may not be written by this user",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_AUTH: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened (does its folder exist, and may this user write there?)",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written",
}
_SUFFIXES = ("", "-wal", "-shm")
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """A connection to the store's file. Threads may share it; each operation is one transaction.

    In WAL mode readers and one writer never wait for each other; a killed writer loses what it had not committed and
    nothing else.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, making it if it is not there. Raises StoreError."""
        self.path = path
        self._lock = threading.RLock()
        self._epoch = 0
        self._inode = 0
        with self._translated():
            self._connection = self._open()

    def close(self) -> None:
        """Close; safe more than once."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the store throughout. Raises StoreError."""
        with self._lock, self._translated(), self._transaction("BEGIN"):
            yield self._connection

    @contextlib.contextmanager
    def write(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are all committed at the end, or none if it raises. Raises StoreError.

        Whatever was committed survives the end of any process. `durable` changes survive the loss of power too, for
        an fsync each: orders of people are worth it, what the next probe tells anyway is not.
        """
        with self._lock, self._translated():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with self._transaction("BEGIN IMMEDIATE"):
                yield self._connection

    def changes(self) -> int:
        """A number that differs from the last one when others have committed since; cheap enough to ask every second.

        Changes made through this object do not count. A file that was deleted or replaced is opened, or made, again.
        Raises StoreError.
        """
        with self._lock, self._translated():
            if self._current_inode() != self._inode:
                fresh = self._open()
                self._connection.close()
                self._connection = fresh
                self._epoch += 1
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return self._epoch << 32 | int(version)

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        if self._current_inode() == 0:
            _make(self.path)
        # The file is never opened here but by SQLite: a process that closes any descriptor of a file loses its POSIX
        # locks on it, and whoever ends next would take itself for the last one and delete the log that is in use.
        found = self.path.stat()
        self._inode = found.st_ino
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if found.st_size == 0:
            raise StoreError(f"{self.path}: is empty; remove it and gtm makes a new one")
        # Permission is asked of the file system first: SQLite would fall back to reading, and fail at the first write.
        if not os.access(self.path, os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        connection = _connect(self.path)
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make sure that it is ours and of our version; an older one is brought up to it."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path}: is a database, but not a store of gtm")
        if _version(connection) < VERSION:
            connection.execute("BEGIN IMMEDIATE")
            _migrate(connection)
            connection.execute("COMMIT")
        if _version(connection) > VERSION:
            raise StoreError(
                f"{self.path}: was written by a newer gtm (version {_version(connection)} of its tables; "
                f"this one knows up to {VERSION})"
            )

    def _current_inode(self) -> int:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {_words(error)}") from error
        except OSError as error:
            raise StoreError(f"{self.path}: {(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            raise StoreError(f"{self.path}: holds something that makes no sense: {error}") from error


def _make(path: Path) -> None:
    """Make the file beside its place and link it there: it appears whole, and of two that try one wins."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, MODE))
        connection = _connect(fresh)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
        _place(fresh, path)
    finally:
        for suffix in _SUFFIXES:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)


def _place(fresh: Path, path: Path) -> None:
    """Link the new file to its place, unless another process was quicker.

    The log of a file that was deleted alone is swept away first: SQLite would play it into the new one. The lock on
    the folder keeps that from ever being the log of a file that somebody else has just made.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.link(fresh, path)
        os.fsync(folder)
    finally:
        os.close(folder)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to our version, within the caller's transaction: another process may have been quicker."""
    for step in MIGRATIONS[_version(connection) :]:
        for statement in filter(str.strip, step.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {max(VERSION, _version(connection))}")


def _words(error: sqlite3.Error) -> str:
    # Errors that the module itself raises carry no code; extended codes have the plain one in their low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return (
            f"is damaged ({error}); move it away and gtm starts a new one: "
            "orders of people and history are lost, answers are not"
        )
    return _WORDS.get(code, str(error))
