"""The thinker as a child process: started with one end of a socket, and again with back-off when it has died."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterable, Sequence

import structlog

from gtm.app.announce.pipe import READ_BYTES, Lost, Order, Word, orders, pack

log = structlog.get_logger()

BACKOFF_MIN_S, BACKOFF_MAX_S = 0.5, 30.0
LIVED_S = 60.0  # one that lived so long starts the back-off anew
QUEUE_MAX = 4096  # datagrams that wait to be read


class Child:
    """The process that thinks, and the words that wait for it. Times are of the caller's clock."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` gets `--fd NUMBER` added. Nothing is started yet."""
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._queue: deque[bytes] = deque()
        self._lost = False
        self._started_s = 0.0
        self._start_at_s = 0.0
        self._backoff_s = 0.0
        self.link: socket.socket | None = None
        self.heard_s = 0.0
        self.starts = 0

    @property
    def pid(self) -> int:
        """Its process id; 0 where none runs."""
        return 0 if self._process is None else self._process.pid

    def tend(self, now_s: float) -> bool:
        """Whether it was just started: the first time, or since it had died and the back-off was over."""
        if self._process is not None and (code := self._process.poll()) is not None:
            log.warning("thinker_died", pid=self._process.pid, code=code)
            self._close()
            if now_s - self._started_s > LIVED_S:
                self._backoff_s = 0.0
            self._start_at_s = now_s + self._backoff_s
            self._backoff_s = min(max(2 * self._backoff_s, BACKOFF_MIN_S), BACKOFF_MAX_S)
        if self._process is not None or now_s < self._start_at_s:
            return False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, "--fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what is meant for ExaBGP comes from here alone
            )
        ours.settimeout(0.0)
        self.link = ours
        self._started_s = self.heard_s = now_s
        self.starts += 1
        return True

    def kill(self) -> None:
        """End it at once; `tend` starts another."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def release(self) -> None:
        """Let it go on by itself."""
        self._close(wait=False)

    def tell(self, words: Iterable[Word]) -> None:
        """Have it told; if far too much waits because it does not read, that is forgotten, and told to be."""
        if self.link is None:
            return
        self._queue.extend(pack(words))
        if len(self._queue) > QUEUE_MAX:
            self._queue.clear()
            self._lost = True
        self.flush()

    def flush(self) -> None:
        """Send what it takes now."""
        if self.link is None:
            return
        try:
            if self._lost:
                (datagram,) = pack([Lost()])
                self.link.send(datagram)
                self._lost = False
            while self._queue:
                self.link.send(self._queue[0])
                self._queue.popleft()
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # later, or never: `tend` sees that it died

    @property
    def waiting(self) -> bool:
        """Whether there are words that it did not take yet."""
        return self._lost or bool(self._queue)

    def hear(self, now_s: float) -> list[Order]:
        """The orders that it has given since the last time."""
        found: list[Order] = []
        while self.link is not None:
            try:
                datagram = self.link.recv(READ_BYTES)
            except (BlockingIOError, ConnectionResetError):
                break
            if not datagram:
                self.link.close()
                self.link = None
                break
            self.heard_s = now_s
            found.extend(orders(datagram))
        return found

    def _close(self, *, wait: bool = True) -> None:
        if self.link is not None:
            self.link.close()
        self.link = None
        self._queue.clear()
        self._lost = False
        if wait and self._process is not None:
            self._process.wait()
        self._process = None
