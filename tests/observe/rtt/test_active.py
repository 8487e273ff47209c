"""Active measurements against real peers on loopback: what counts, what is lost, and how they are spread."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from threading import Event, Thread

import pytest

from gtm.model.rtt import RttKind, RttSample, RttTarget
from gtm.observe.rtt import active
from gtm.observe.rtt.active import ActiveRtt
from gtm.observe.rtt.handshake import Handshakes
from gtm.observe.rtt.query import Queries

DEADLINE_S = 60.0
LATE_S = 0.05
STALL_S = 2.0

Answers = Callable[[bytes], list[bytes]]


@contextmanager
def name_server(answers: Answers, address: str = "127.0.0.1") -> Iterator[int]:
    """A UDP server, in a thread; its port."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        stopping = Event()

        def serve() -> None:
            while True:
                query, client = sock.recvfrom(2000)
                if stopping.is_set():
                    return
                for answer in answers(query):
                    sock.sendto(answer, client)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        port = sock.getsockname()[1]
        try:
            yield port
        finally:
            stopping.set()
            with socket.socket(sock.family, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", (address, port))
            thread.join(DEADLINE_S)


def refused(query: bytes) -> list[bytes]:
    return [query[:2] + b"\x80\x05" + query[4:]]


def late(query: bytes) -> list[bytes]:
    time.sleep(LATE_S)
    return refused(query)


def ask(port: int, timeout_s: float, address: str = "127.0.0.1", stall_s: float = 0.0) -> list[float | None]:
    """All that one query came to: one call of `done`."""

    async def asked() -> list[float | None]:
        queries = Queries()
        came: list[float | None] = []
        done = asyncio.Event()

        def take(rtt_s: float | None) -> None:
            came.append(rtt_s)
            done.set()

        queries.send(ip_address(address), port, timeout_s, take)
        if stall_s:
            time.sleep(stall_s)  # noqa: ASYNC251 - the loop is held up on purpose
        async with asyncio.timeout(DEADLINE_S):
            await done.wait()
        queries.close()
        return came

    return asyncio.run(asked())


# Queries.


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_any_answer_counts_and_the_way_takes_its_time(address: str) -> None:
    with name_server(late, address) as port:
        [rtt_s] = ask(port, 30.0, address)
    assert rtt_s is not None
    assert rtt_s >= LATE_S


def test_the_question_is_one_that_no_resolver_has_to_ask_for() -> None:
    seen: list[bytes] = []

    def note(query: bytes) -> list[bytes]:
        seen.append(query)
        return refused(query)

    with name_server(note) as port:
        ask(port, 30.0)
    [query] = seen
    assert query[2:] == struct.pack("!5H", 0, 1, 0, 0, 0) + b"\0\0\2\0\1"  # no recursion desired, ". NS IN"


def test_an_answer_without_question_counts_and_a_second_one_does_not() -> None:
    with name_server(lambda query: [query[:2] + b"\x80\x01" + bytes(8)] * 2) as port:
        [rtt_s] = ask(port, 30.0)
    assert rtt_s is not None


@pytest.mark.parametrize(
    "forged",
    [
        lambda q: bytes((q[0] ^ 1,)) + q[1:2] + b"\x80\0" + q[4:],  # another number
        lambda q: q,  # a query
        lambda q: q[:2] + b"\x80\0" + q[4:12] + b"\1a\0\0\2\0\1",  # another question
        lambda q: q[:2] + b"\x80\0",  # no whole header
        lambda q: b"",
    ],
)
def test_what_is_no_answer_is_none(forged: Callable[[bytes], bytes]) -> None:
    with name_server(lambda query: [forged(query)]) as port:
        assert ask(port, 0.3) == [None]


def test_an_answer_from_elsewhere_is_none() -> None:
    """The socket is open to all; who answers must be who was asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        came: list[bytes] = []

        async def asked() -> float | None:
            queries = Queries()
            result: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked_one:
                asked_one.bind(("127.0.0.1", 0))
                queries.send(ip_address("127.0.0.1"), asked_one.getsockname()[1], 0.5, result.set_result)
                query, client = asked_one.recvfrom(2000)
                came.append(query)
                other.sendto(refused(query)[0], client)
                rtt_s = await result
            queries.close()
            return rtt_s

        assert asyncio.run(asked()) is None


def test_what_this_process_does_meanwhile_is_no_part_of_the_way() -> None:
    with name_server(refused) as port:
        [rtt_s] = ask(port, 30.0, stall_s=STALL_S)
    assert rtt_s is not None
    assert rtt_s < STALL_S


# Handshakes.


def shake(port: int, timeout_s: float, *, stall_s: float = 0.0, meanwhile: Callable[[], object] = bool) -> float | None:
    async def shaken() -> float | None:
        handshakes = Handshakes()
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        handshakes.send(ip_address("127.0.0.1"), port, timeout_s, answer.set_result)
        meanwhile()
        time.sleep(stall_s)  # noqa: ASYNC251 - the loop is held up on purpose
        async with asyncio.timeout(DEADLINE_S):
            rtt_s = await answer
        handshakes.close()
        return rtt_s

    return asyncio.run(shaken())


def test_a_handshake_is_timed_by_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rtt_s = shake(listener.getsockname()[1], 30.0, stall_s=STALL_S)
        assert rtt_s is not None
        assert 0 < rtt_s < STALL_S
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(10) == b""  # nothing was sent


def test_a_handshake_that_had_to_be_tried_twice_tells_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        listener.settimeout(DEADLINE_S)

        def accept() -> None:
            listener.accept()[0].close()

        with socket.create_connection(listener.getsockname()):  # takes the only place: the next SYN is dropped
            assert shake(listener.getsockname()[1], 30.0, meanwhile=accept) is None
            accept()  # it did come through, later


def test_nobody_there_tells_nothing() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        assert shake(unheard.getsockname()[1], 30.0) is None


def test_handshakes_leave_files_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))

    async def send() -> None:
        came: list[float | None] = []
        handshakes = Handshakes()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(2):
                handshakes.send(ip_address("127.0.0.1"), listener.getsockname()[1], 30.0, came.append)
            with pytest.raises(OSError, match="too many handshakes"):
                handshakes.send(ip_address("127.0.0.1"), listener.getsockname()[1], 30.0, came.append)
            handshakes.close()
        assert came == [None, None]

    asyncio.run(send())


def test_no_way_there_is_said() -> None:
    async def send() -> None:
        with pytest.raises(OSError, match="cannot connect"):
            Handshakes().send(ip_address("255.255.255.255"), 53, 1.0, print)

    asyncio.run(send())


# The schedule.


async def measured(
    probing: ActiveRtt, samples: list[RttSample], until: Callable[[], bool], deadline_s: float = DEADLINE_S
) -> None:
    """Run until enough is there."""
    task = asyncio.create_task(probing.run())
    try:
        async with asyncio.timeout(deadline_s):
            while not until():  # noqa: ASYNC110 - counters make no events
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_samples_are_of_the_target_s_network_and_the_own_region() -> None:
    samples: list[RttSample] = []
    with name_server(refused) as port, name_server(refused, "::1") as port6:
        targets = [
            RttTarget(address=ip_address("127.0.0.1"), kind=RttKind.DNS, port=port),
            RttTarget(address=ip_address("::1"), kind=RttKind.DNS, port=port6),
        ]
        probing = ActiveRtt(targets, "eu-west", interval_s=0.2, timeout_s=5.0, on_samples=samples.extend)
        before_s = time.time()
        asyncio.run(measured(probing, samples, lambda: len(samples) >= 4))
    assert {sample.network for sample in samples} == {ip_network("127.0.0.0/24"), ip_network("::/48")}
    assert {(sample.region, sample.count) for sample in samples} == {("eu-west", 1)}
    assert all(before_s - 1 < sample.at_s < time.time() + 1 for sample in samples)
    counters = probing.counters
    assert counters.answered >= len(samples)
    assert counters.answered + counters.lost <= counters.sent


def test_lost_and_unsent_are_counted_and_are_no_samples() -> None:
    samples: list[RttSample] = []
    with name_server(lambda query: []) as silent:
        targets = [
            RttTarget(address=ip_address("127.0.0.1"), kind=RttKind.DNS, port=silent),
            RttTarget(address=ip_address("255.255.255.255"), kind=RttKind.TCP),
        ]
        probing = ActiveRtt(targets, "here", interval_s=0.3, timeout_s=0.1, on_samples=samples.extend)
        counters = probing.counters
        asyncio.run(measured(probing, samples, lambda: counters.lost >= 2 and counters.unsent >= 2))
    assert samples == []
    assert counters.answered == 0


class Clockwork:
    """Stands in for the senders: notes when who was sent to, by a clock that the test moves."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, address: object, timeout_s: float, done: Callable[[float | None], None]) -> None:
        self.sent.append(str(address))
        done(0.01)


def planned(count: int, interval_s: float) -> tuple[ActiveRtt, Clockwork]:
    targets = [RttTarget(address=ip_address("10.0.0.0") + n) for n in range(count)]
    probing = ActiveRtt(targets, "here", interval_s=interval_s, timeout_s=1.0, on_samples=lambda _: None, seed=7)
    probing._plan(0.0)
    return probing, Clockwork()


def test_each_target_once_an_interval_and_never_many_at_once() -> None:
    probing, works = planned(600, 60.0)
    most, before = 0, 0
    for tick in range(int(10 * 60 / active.TICK_S)):
        probing._start_due(tick * active.TICK_S, works, None, None)  # type: ignore[arg-type]
        most, before = max(most, len(works.sent) - before), len(works.sent)
    each = {name: works.sent.count(name) for name in set(works.sent)}
    assert len(each) == 600
    assert set(each.values()) <= {9, 10, 11}  # jitter moves one over the end
    assert most <= 12  # 0.5 a tick on average
    assert probing.counters.skipped == 0


def test_a_pause_is_not_made_up_for() -> None:
    probing, works = planned(600, 60.0)
    probing._start_due(0.0, works, None, None)  # type: ignore[arg-type]
    begun = len(works.sent)
    probing._start_due(45.0, works, None, None)  # type: ignore[arg-type]
    assert len(works.sent) - begun <= 600 * (active.LATE_SHARE + 0.01)  # those that are due about now
    assert probing.counters.skipped > 300
    works.sent.clear()
    for tick in range(int(45 / active.TICK_S), int(125 / active.TICK_S)):
        probing._start_due(tick * active.TICK_S, works, None, None)  # type: ignore[arg-type]
    assert len(set(works.sent)) == 600  # and all go on


def test_there_is_a_bound_to_what_is_under_way() -> None:
    probing, works = planned(2000, 1.0)
    works.send = lambda *_: works.sent.append("")  # type: ignore[method-assign]  # nobody answers
    for tick in range(100):
        probing._start_due(tick * active.TICK_S, works, None, None)  # type: ignore[arg-type]
    assert len(works.sent) == active.WAITING_MAX
