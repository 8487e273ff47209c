"""The thinker's end of the socket to its supervisor."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable

from gtm.app.announce.pipe import READ_BYTES, Order, Part, Word, pack, words
from gtm.wire.exabgp.reply import Reply
from gtm.wire.exabgp.session import Answer


class Link:
    """Orders go out at once as far as the socket takes them; words come in whole answers.

    `on_words` is called in the loop with all that came in one turn of it, None when the supervisor is gone.
    """

    def __init__(self, sock: socket.socket, on_words: Callable[[list[Word] | None], None]) -> None:
        """Reads from now on."""
        self._sock = sock
        self._on_words = on_words
        self._queue: deque[bytes] = deque()
        self._parts: dict[str, list[Reply]] = {}
        self._loop = asyncio.get_running_loop()
        sock.settimeout(0.0)
        self._loop.add_reader(sock, self._readable)

    def send(self, orders: Iterable[Order]) -> None:
        """Give orders, in their order. What the supervisor does not take now is kept: it reads, or it is replaced."""
        self._queue.extend(pack(orders))
        self._flush()

    def close(self) -> None:
        """Neither read nor write any more."""
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()

    def _flush(self) -> None:
        try:
            while self._queue:
                self._sock.send(self._queue[0])
                self._queue.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
        except OSError:
            self._queue.clear()  # it is gone, as reading tells
        else:
            self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        found: list[Word] = []
        while True:
            try:
                datagram = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                datagram = b""
            if not datagram:
                self._loop.remove_reader(self._sock)
                self._loop.call_soon(self._on_words, None)
                break
            found.extend(whole for word in words(datagram) if (whole := self._whole(word)) is not None)
        if found:
            self._on_words(found)

    def _whole(self, word: Word) -> Word | None:
        match word:
            case Part(question=question, replies=replies):
                self._parts.setdefault(question, []).extend(replies)
                return None
            case Answer(question=question, ok=ok, replies=replies):
                return Answer(question=question, ok=ok, replies=(*self._parts.pop(question, ()), *replies))
            case _:
                return word
