"""`gtm rtt agent`: from real connections to what a node is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from gtm.app import rtt_agent
from gtm.app.folders import store_file
from gtm.app.rtt_agent import Errand, Look, Sample, gather
from gtm.cli.main import main
from gtm.model.errors import AskedError, GtmError, PeerError
from gtm.observe.rtt.csvfile import csv_scan
from gtm.observe.rtt.readings import checked
from gtm.observe.rtt.sockdiag import Peer
from gtm.observe.rtt.tcpinfo import TcpInfo
from gtm.store.store import Store
from gtm.wire.push import parse, rtts
from tests.app.pushing import TOKEN, Served, wanted
from tests.app.test_inlet import api

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


def peer(address: str, least_ms: float | None, *, quiet_s: float = 0.0) -> Peer:
    least_s = None if least_ms is None else least_ms / 1e3
    return Peer(ip_address(address), 4242, 443, TcpInfo(1, quiet_s, 0.5, 0, 100, least_s, 1, 1))


# Gathering.


def test_the_mean_by_network_and_how_many() -> None:
    seen = gather(
        "us-east",
        [
            peer("8.8.8.1", 10),
            peer("8.8.8.200", 20),
            peer("8.8.9.1", 7),
            peer("2a00:1:2::9", 30),
            peer("2a00:1:2:ffff::9", 40),
        ],
    )
    assert seen.samples == (
        Sample(prefix="8.8.8.0/24", rtt_ms=15.0, count=2),
        Sample(prefix="8.8.9.0/24", rtt_ms=7.0, count=1),
        Sample(prefix="2a00:1:2::/48", rtt_ms=35.0, count=2),
    )
    assert (seen.region, seen.passed_over) == ("us-east", 0)


def test_private_peers_only_when_asked_for() -> None:
    private = [peer(a, 1) for a in ("127.0.0.1", "10.1.2.3", "100.64.0.1", "192.168.1.1", "::1", "fe80::1", "fd00::1")]
    assert gather("r", private) == Look(region="r", samples=(), passed_over=7)
    assert len(gather("r", private, include_private=True).samples) == 7


def test_only_what_is_new_and_measured() -> None:
    found = [peer("8.8.8.1", 10, quiet_s=61), peer("8.8.9.1", None), peer("8.8.10.1", 9, quiet_s=59)]
    assert [one.prefix for one in gather("r", found, within_s=60).samples] == ["8.8.10.0/24"]
    assert len(gather("r", found).samples) == 2


def test_there_is_a_bound_to_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtt_agent, "NETWORKS_MAX", 2)
    seen = gather("r", [peer(f"8.8.{n}.1", 10) for n in (1, 2, 3, 4, 1)])
    assert [(one.prefix, one.count) for one in seen.samples] == [("8.8.1.0/24", 2), ("8.8.2.0/24", 1)]
    assert seen.passed_over == 2


# Telling.


@contextmanager
def node(
    status: int = 200, answer: bytes = b"{}", headers: dict[str, str] | None = None
) -> Iterator[tuple[str, Queue]]:
    """An HTTP server that gives one answer to all; its address, and what it was sent: (method, path, headers, body)."""
    heard: Queue = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            heard.put((self.command, self.path, dict(self.headers), body))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 - the base class looks for this name

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        thread.join(DEADLINE_S)
        server.server_close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret-Word\n")
    return path


def errand(to: str | None, token_file: Path | None = None, **more: object) -> Errand:
    return Errand(region="us-east", ports=(443,), to=to, token_file=token_file, **more)  # type: ignore[arg-type]


SEEN = Look(region="us-east", samples=(Sample(prefix="8.8.8.0/24", rtt_ms=12.3, count=4),))


def test_a_node_is_told_in_its_own_form(token_file: Path) -> None:
    with node() as (url, heard):
        rtt_agent.tell(errand(url + "/", token_file), SEEN)
        method, path, headers, body = heard.get(timeout=DEADLINE_S)
    assert (method, path) == ("POST", "/api/v1/push/rtt")
    assert headers["Authorization"] == "Bearer s3cret-Word"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "region": "us-east",
        "samples": [{"prefix": "8.8.8.0/24", "rtt_ms": 12.3, "count": 4}],
    }
    [sample] = rtts(parse(body), {"us-east"}, 1.0)
    assert (sample.network, sample.rtt_s, sample.count) == (ip_network("8.8.8.0/24"), 0.0123, 4)


def test_much_is_told_in_parts_and_nothing_not_at_all(token_file: Path) -> None:
    many = tuple(Sample(prefix=f"8.{n >> 8}.{n & 255}.0/24", rtt_ms=1.0, count=1) for n in range(2500))
    with node() as (url, heard):
        rtt_agent.tell(errand(url, token_file), Look(region="us-east", samples=()))
        rtt_agent.tell(errand(url, token_file), Look(region="us-east", samples=many))
        sizes = [len(rtts(parse(heard.get(timeout=DEADLINE_S)[3]), {"us-east"}, 1.0)) for _ in range(3)]
        assert heard.empty()
    assert sizes == [1000, 1000, 500]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (401, b"", "HTTP 401: the token is not the node's"),
        (404, b"not json", "HTTP 404: this node takes no reports"),
        (400, b'{"detail": "region: there is no region"}', "HTTP 400: region: there is no region"),
        (500, b"[]", "HTTP 500: Internal Server Error"),
    ],
)
def test_a_refusal_is_said_in_the_node_s_words(token_file: Path, status: int, answer: bytes, said: str) -> None:
    with node(status, answer) as (url, _), pytest.raises(PeerError, match=said):
        rtt_agent.tell(errand(url, token_file), SEEN)


def test_a_redirect_does_not_carry_the_token_elsewhere(token_file: Path) -> None:
    with node() as (elsewhere, heard), node(302, headers={"Location": f"{elsewhere}/steal"}) as (url, _):
        with pytest.raises(PeerError, match="HTTP 302"):
            rtt_agent.tell(errand(url, token_file), SEEN)
        assert heard.empty()


def test_a_node_that_is_not_there_or_talks_nonsense(token_file: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(PeerError, match="refused"):
            rtt_agent.tell(errand(f"http://127.0.0.1:{unheard.getsockname()[1]}", token_file), SEEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            with listener.accept()[0] as sock:
                sock.recv(10_000)
                sock.sendall(b"SSH-2.0-nonsense\r\n")

        thread = Thread(target=talk, daemon=True)
        thread.start()
        with pytest.raises(PeerError):
            rtt_agent.tell(errand(f"http://127.0.0.1:{listener.getsockname()[1]}", token_file), SEEN)
        thread.join(DEADLINE_S)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"caf\xc3\xa9", b"a\nb"])
def test_what_is_no_token_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(GtmError, match="is not a token"):
        rtt_agent.token_of(path)
    with pytest.raises(GtmError, match="No such file"):
        rtt_agent.token_of(tmp_path / "absent")


def test_a_file_is_replaced_whole_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "us-east.csv"
    path.write_text("old")
    rtt_agent.tell(errand(str(path)), SEEN)
    with path.open("rb") as file:
        samples, _ = checked(file, "us-east.csv", csv_scan(1.0, {"us-east"}))
        [sample] = samples
    assert (sample.network, sample.rtt_s, sample.count) == (ip_network("8.8.8.0/24"), 0.0123, 4)
    assert [one.name for one in tmp_path.iterdir()] == ["us-east.csv"]
    with pytest.raises(GtmError, match="No such file"):
        rtt_agent.tell(errand(str(tmp_path / "absent" / "x.csv")), SEEN)


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        ({"to": "http://node:8053"}, "--token-file"),
        ({"to": "out.csv", "token_file": Path("t")}, "--token-file"),
        ({"token_file": Path("t")}, "--token-file"),
        ({"to": "http://", "token_file": Path("t")}, "--to"),
        ({"to": "http://[::1", "token_file": Path("t")}, "--to"),
        ({"to": "http://node:99999", "token_file": Path("t")}, "--to"),
        ({"to": "http://node/api", "token_file": Path("t")}, "--to"),
        ({"to": "http://me@node", "token_file": Path("t")}, "--to"),
        ({"region": ""}, "--region"),
        ({"region": "a,b"}, "--region"),
        ({"region": "a\nb"}, "--region"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], at: str) -> None:
    with pytest.raises(AskedError) as raised:
        Errand(**{"region": "us-east", "ports": (443,), **arguments})  # type: ignore[arg-type]
    assert raised.value.argument == at


# The command, on real connections.


@contextmanager
def clients() -> Iterator[int]:
    """Three connections to a port: two from one network, one from another."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for source in ("127.0.0.3", "127.0.0.4", "127.7.7.7"):
            client = stack.enter_context(socket.socket())
            client.bind((source, 0))
            client.connect(listener.getsockname())
            stack.enter_context(listener.accept()[0])
        yield listener.getsockname()[1]


def test_once_as_csv_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with clients() as port:
        words = ["rtt", "agent", "--region", "us-east", "--port", str(port), "--once"]
        assert main(words) == 0
        assert capsys.readouterr().out == "prefix,region,rtt,count\n"  # all of them are on loopback
        assert main([*words, "--include-private"]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert main([*words, "--include-private", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
    assert head == "prefix,region,rtt,count"
    cells = sorted(line.split(",") for line in lines)
    assert [(cell[0], cell[1], cell[3]) for cell in cells] == [
        ("127.0.0.0/24", "us-east", "2"),
        ("127.7.7.0/24", "us-east", "1"),
    ]
    assert all(float(cell[2]) > 0 for cell in cells)
    assert document["region"] == "us-east"
    assert {(one["prefix"], one["count"]) for one in document["samples"]} == {("127.0.0.0/24", 2), ("127.7.7.0/24", 1)}


def test_a_real_node_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From connections, by the API process, into the store that the controller reads."""
    served = Served(tmp_path)
    served.publish(wanted())
    right, wrong = tmp_path / "token", tmp_path / "wrong"
    right.write_text(TOKEN)
    wrong.write_text(TOKEN[::-1])
    with clients() as port, api(tmp_path, "--push-token", str(right)) as url:
        words = ["rtt", "agent", "--port", str(port), "--once", "--include-private", "--to", url]
        assert main([*words, "--region", "us-east", "--token-file", str(right)]) == 0
        assert main([*words, "--region", "us-east", "--token-file", str(wrong)]) == 1
        assert "HTTP 401: the token is missing or wrong" in capsys.readouterr().err
        assert main([*words, "--region", "mars-1", "--token-file", str(right)]) == 1
        assert "HTTP 400: there is no region 'mars-1'" in capsys.readouterr().err
    with Store(store_file(tmp_path)) as store:
        samples = store.collect(now_s=time.time()).rtts
    assert {(sample.network, sample.region, sample.count) for sample in samples} == {
        (ip_network("127.0.0.0/24"), "us-east", 2),
        (ip_network("127.7.7.0/24"), "us-east", 1),
    }


def test_it_goes_on_telling_also_after_a_failure(token_file: Path) -> None:
    """A node that refuses is told again; the refusal is a line on standard error."""
    with clients() as port, node(503, b'{"detail": "not now"}') as (url, heard):
        words = ["rtt", "agent", "--region", "us-east", "--port", str(port), "--every", "1s", "--include-private"]
        command = [sys.executable, "-m", "gtm.cli.main", *words, "--to", url, "--token-file", str(token_file)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            first = heard.get(timeout=DEADLINE_S)
            assert len(json.loads(first[3])["samples"]) == 2
            with socket.create_connection(("127.0.0.1", port)):  # something new to tell of
                heard.get(timeout=DEADLINE_S)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=DEADLINE_S)
    assert f"gtm: {url}: HTTP 503: not now\n" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "443"],
        ["--region", "x"],
        ["--region", "x", "--port", "0"],
        ["--region", "x", "--port", "http"],
        ["--region", "x", "--port", "443", "--every", "soon"],
        ["--region", "x", "--port", "443", "--every", "5s", "--once"],
    ],
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rtt", "agent", *words]) == 2
    assert "usage: gtm rtt agent" in capsys.readouterr().err
