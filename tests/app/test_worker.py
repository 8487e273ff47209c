"""The worker as its clients see it: UDP and TCP, new tables, and being told to stop."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gtm.app.crew import holder
from gtm.app.nameserver import counters
from tests.answer.test_paths import opt, query
from tests.app.conftest import Publish
from tests.app.node import until
from tests.app.worker import ask, connect, framed, free_port, receive, worker

# Loopback clients are of the test classes' San Francisco: us-west, then us-east.
US_EAST = [bytes((192, 0, 2, 10 + i)) for i in (1, 2, 3)]
US_WEST = [bytes((192, 0, 2, 40 + i)) for i in (1, 2, 3)]


def first_address(reply: bytes) -> bytes:
    """The rdata of the answer's first A record (all names here are answered with one pointer and fixed sizes)."""
    end = reply.index(b"\0", 12) + 5
    return reply[end + 12 : end + 16]


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_udp_is_answered_from_the_address_that_was_asked(publish: Publish, tmp_path: Path, listen: str) -> None:
    asked = {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "0.0.0.0": ["127.0.0.1", "127.0.0.9"], "::": ["::1"]}
    port = free_port(listen)
    with worker(tmp_path, f"[{listen}]:{port}" if ":" in listen else f"{listen}:{port}"):
        for address in asked[listen]:  # `ask` connects its socket, so an answer from elsewhere would not be seen
            for question in (query("www.example.com."), query("static.example.com.", edns=opt()), b"\0" * 12):
                assert ask(question, port, address)[:2] == question[:2]


def test_tcp_pipelined_split_and_long(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    names = ["www.example.com.", "static.example.com.", "missing.example.com.", "big.example.com."] * 30
    questions = [bytes((0, n)) + query(name, 16 if name[0] == "b" else 1)[2:] for n, name in enumerate(names)]
    with worker(tmp_path, f"127.0.0.1:{port}"), connect(port) as sock:
        stream = b"".join(framed(question) for question in questions)
        for start in range(0, len(stream), 37):
            sock.sendall(stream[start : start + 37])
        sock.shutdown(socket.SHUT_WR)
        replies = [receive(sock) for _ in questions]
        assert [reply[:2] for reply in replies if reply] == [question[:2] for question in questions]
        assert max(len(reply or b"") for reply in replies) > 1600
        assert not any((reply or b"")[2] & 2 for reply in replies)
        assert receive(sock) is None


def test_a_client_that_reads_nothing_is_not_read_from_and_others_are_served(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    question = framed(query("big.example.com.", 16))
    with worker(tmp_path, f"127.0.0.1:{port}"), connect(port) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        greedy.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(1_000_000):
                sent += greedy.send(question)
        with connect(port) as other:
            other.sendall(framed(query("www.example.com.")))
            assert receive(other)
        greedy.settimeout(20)
        count = 0
        greedy.shutdown(socket.SHUT_WR)
        while receive(greedy):
            count += 1
        assert count == sent // len(question)


def test_garbage_over_tcp_gets_an_answer_or_the_end(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, f"127.0.0.1:{port}"):
        with connect(port) as sock:
            sock.sendall(framed(b"\xab\xcd" + bytes(10)) + framed(b""))
            assert (receive(sock) or b"")[:2] == b"\xab\xcd"
            assert receive(sock) is None
        with connect(port) as sock:
            sock.sendall(b"\xff\xff" + bytes(100))
            sock.shutdown(socket.SHUT_WR)
            assert receive(sock) is None
        assert ask(query("www.example.com."), port)


def test_a_published_table_is_served_at_once_and_counted(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, f"127.0.0.1:{port}") as process:
        before = first_address(ask(query("www.example.com."), port))
        assert before in US_WEST
        publish(2, "us-west")
        until(lambda: first_address(ask(query("www.example.com."), port)) in US_EAST)
        page = tmp_path / "workers" / "dns-0.counters"
        until(lambda: counters.read(page)[1]["udp4_queries"] >= 2)  # counted when a batch has been answered
        facts, counts = counters.read(page)
        assert facts == {"pid": process.pid, "revision": 2, "generation": facts["generation"]}
        assert counts["udp4_queries"] == counts["fast_answers"] + counts["full_answers"]
        assert counts["rcode_noerror"] == counts["udp4_queries"]
        assert holder(tmp_path, "dns-0") == process.pid


def test_a_table_that_cannot_be_loaded_leaves_the_last_good_one_in_force(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, f"127.0.0.1:{port}"):
        before = ask(query("www.example.com."), port)
        manifest = tmp_path / "tables" / "manifest.json"
        good = manifest.read_bytes()
        publish(2, "us-west")
        # A worker looks for a new table between batches, so a query that comes in the middle of one may be too early.
        until(lambda: ask(query("www.example.com."), port) != before)
        wanted = ask(query("www.example.com."), port)
        manifest.write_bytes(good.replace(b"answers-1", b"answers-9"))
        publish_generation(tmp_path)
        counts = tmp_path / "workers" / "dns-0.counters"
        until(lambda: counters.read(counts)[1]["reload_failures"] >= 1)
        assert ask(query("www.example.com."), port) == wanted


def publish_generation(state: Path) -> None:
    """Wake the worker without writing anything."""
    from gtm.publish.dns.control import Control

    Control(state, writable=True).publish(9)


def test_two_workers_share_a_port_but_not_a_slot(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, f"127.0.0.1:{port}") as first, worker(tmp_path, f"127.0.0.1:{port}", slot=1):
        assert ask(query("www.example.com."), port)
        with pytest.raises(AssertionError, match="did not start"), worker(tmp_path, f"127.0.0.1:{port}"):
            pass
        first.terminate()
        assert first.wait(20) == 0
        for _ in range(20):
            assert ask(query("www.example.com."), port)
