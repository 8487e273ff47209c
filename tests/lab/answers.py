"""Instances that name their PoP, the health that they admit to, and clients that go on asking: all in one thread."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.lab.network import Host

PORT = 7  # echo's; ours says who answers
HEALTH_PORT = 8080
PATIENCE_S = 1.0  # an answer that takes longer is lost
IP_FREEBIND = 15  # of linux/in.h; IPv6 takes the same one at this level


@dataclass(slots=True)
class Question:
    """One question of a client: when it was sent, when it was answered and by which PoP, if it was."""

    sent_s: float
    answered_s: float | None = None
    pop: str = ""


@dataclass(slots=True)
class Client:
    """Asks one address again and again by UDP."""

    name: str
    address: str
    questions: list[Question] = field(default_factory=list)

    def last(self) -> str:
        """The PoP of the newest answer to a question of the last second, or nothing."""
        since_s = time.monotonic() - PATIENCE_S
        for question in reversed(self.questions):
            if question.sent_s < since_s:
                break
            if question.answered_s is not None:
                return question.pop
        return ""

    def lost(self, since_s: float, until_s: float) -> int:
        """How many questions of that time were never answered; its last second is still in the air."""
        return sum(
            question.answered_s is None
            for question in self.questions
            if since_s <= question.sent_s < until_s - PATIENCE_S
        )

    def silence_s(self, since_s: float, until_s: float) -> float:
        """The longest time between two questions that were answered, with only lost ones between them; else 0."""
        longest_s, last_s, missed = 0.0, since_s, False
        for question in self.questions:
            if not since_s <= question.sent_s < until_s - PATIENCE_S:
                continue
            if question.answered_s is None:
                missed = True
            else:
                longest_s = max(longest_s, question.sent_s - last_s) if missed else longest_s
                last_s, missed = question.sent_s, False
        return max(longest_s, until_s - PATIENCE_S - last_s) if missed else longest_s

    def asked(self, since_s: float, until_s: float) -> int:
        """How many questions count there."""
        return sum(since_s <= question.sent_s < until_s - PATIENCE_S for question in self.questions)


@dataclass(slots=True)
class Health:
    """What an instance says of itself by HTTP, and when it said that it is not well."""

    well: bool = True
    failures_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Answers:
    """The thread. Sockets are made inside hosts; they may be read from anywhere."""

    period_s: float = 0.01
    clients: list[Client] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    _askers: list[tuple[Client, socket.socket]] = field(default_factory=list)
    _asks: list[Callable[[], None]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for sock in [*(one for some in self._sockets.values() for one in some), *(sock for _, sock in self._askers)]:
            sock.close()
        self._selector.close()

    def serve(self, host: Host, pop: str, addresses: Sequence[str]) -> None:
        """Answer on these addresses of a host, once it has them, by UDP and TCP, with the PoP's name."""
        for address in addresses:
            udp = host.inside(lambda at=address: _bound(at, PORT, socket.SOCK_DGRAM))  # type: ignore[misc]
            tcp = host.inside(lambda at=address: _bound(at, PORT, socket.SOCK_STREAM))  # type: ignore[misc]
            self._watch(pop, udp, lambda sock=udp: _reply(sock, pop))  # type: ignore[misc]
            self._watch(pop, tcp, lambda sock=tcp: _accept(sock, pop))  # type: ignore[misc]

    def admit(self, host: Host, pop: str) -> Health:
        """An HTTP server on the loopback address of a host; what is returned decides what it says."""
        health = Health()
        sock = host.inside(lambda: _bound("127.0.0.1", HEALTH_PORT, socket.SOCK_STREAM))
        self._watch(pop, sock, lambda: _say_health(sock, health))
        return health

    def die(self, pop: str) -> None:
        """Close everything that speaks for a PoP."""
        with self._lock:
            for sock in self._sockets.pop(pop, []):
                self._selector.unregister(sock)
                sock.close()

    def ask(self, host: Host, name: str, address: str) -> Client:
        """A client in a host that asks for an address from now on."""
        client = Client(name=name, address=address)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = host.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.connect((address, PORT))
        with self._lock:
            self._askers.append((client, sock))
            self._selector.register(sock, selectors.EVENT_READ, lambda: _hear(client, sock))
        self.clients.append(client)
        return client

    def _watch(self, pop: str, sock: socket.socket, do: Callable[[], None]) -> None:
        with self._lock:
            self._sockets.setdefault(pop, []).append(sock)
            self._selector.register(sock, selectors.EVENT_READ, do)

    def _alive(self) -> set[object]:
        """What is still to be read: something may have died since it was found ready."""
        return {*(one for some in self._sockets.values() for one in some), *(sock for _, sock in self._askers)}

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._over.is_set():
            ready = self._selector.select(max(0.0, next_s - time.monotonic()))
            with self._lock:
                for key, _ in ready:
                    if key.fileobj in self._alive():
                        key.data()
                if time.monotonic() >= next_s:
                    for client, sock in self._askers:
                        _ask(client, sock)
                    next_s = max(next_s + self.period_s, time.monotonic())


def tcp_answer(host: Host, address: str) -> str:
    """The PoP that answers by TCP inside a host. Raises OSError."""

    def connected() -> str:
        with socket.create_connection((address, PORT), timeout=60) as sock:
            return sock.recv(256).decode()

    return host.inside(connected)


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket on an address that the host need not have yet, which also makes answers come from it."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind is socket.SOCK_STREAM:
        sock.listen(64)
    sock.setblocking(False)
    return sock


def _reply(sock: socket.socket, pop: str) -> None:
    with suppress(OSError):
        while True:
            number, client = sock.recvfrom(256)
            sock.sendto(number + pop.encode(), client)


def _accept(sock: socket.socket, pop: str) -> None:
    with suppress(OSError):
        while True:
            connection, _ = sock.accept()
            with connection:
                connection.send(pop.encode())


def _say_health(sock: socket.socket, health: Health) -> None:
    """One request, one answer: requests of probes arrive whole at once on a loopback."""
    with suppress(OSError):
        connection, _ = sock.accept()
        with connection:
            connection.settimeout(1.0)
            connection.recv(4096)
            status = "200 OK" if health.well else "503 Service Unavailable"
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            if not health.well:
                health.failures_s.append(time.monotonic())


def _ask(client: Client, sock: socket.socket) -> None:
    number = len(client.questions)
    client.questions.append(Question(sent_s=time.monotonic()))
    with suppress(OSError):  # no route, or a refusal that came back: a question without an answer
        sock.send(number.to_bytes(8, "big"))


def _hear(client: Client, sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            said = sock.recv(256)
            question = client.questions[int.from_bytes(said[:8], "big")]
            question.answered_s, question.pop = time.monotonic(), said[8:].decode()
