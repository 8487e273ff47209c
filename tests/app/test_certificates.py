"""What `gtm status` says of real TLS servers whose certificates are wrong, each in its own way."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.app.node import node, until, write
from tests.app.worker import free_port
from tests.observe.peers import DAY, NOW, Authority

GOOD, EXPIRED, SELF_SIGNED, WRONG_NAME, SOON = (f"127.0.5.{number}" for number in range(1, 6))
NAME = "www.example.com"


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers 200 to everything and says nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


class Server(http.server.ThreadingHTTPServer):
    """One whose clients may go away in the middle of a handshake."""

    def handle_error(self, *_: object) -> None:
        return


@contextmanager
def https(address: str, port: int, context: ssl.SSLContext) -> Iterator[None]:
    """An HTTPS server; each handshake is made in the connection's own thread."""
    with Server((address, port), Quiet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


@pytest.mark.parametrize("kind", ["https", "tls"])
def test_each_wrong_certificate_has_its_own_reason_in_the_status(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    servers = {
        GOOD: authority.server(NAME, end=NOW + 60 * DAY),
        EXPIRED: authority.server(NAME, begin=NOW - 9 * DAY, end=NOW - 2 * DAY),
        SELF_SIGNED: authority.server(NAME, self_signed=True),
        WRONG_NAME: authority.server("other.example.net"),
        SOON: authority.server(NAME, end=NOW + 3 * DAY),
    }
    port = free_port(GOOD)
    with ExitStack() as stack:
        for address, context in servers.items():
            stack.enter_context(https(address, port, context))
        made = stack.enter_context(node(tmp_path / "node"))
        write(
            made.folder,
            {
                "probes/checks.yaml": (
                    f"checks:\n  web:\n    {kind}: {{port: {port}, server_name: {NAME}, ca_file: {authority.ca_file}, "
                    "expires: 14d}\n    interval: 1s\n"
                ),
                "zones/example.com.yaml": (
                    f"pools:\n  web:\n    check: web\n    us-east: [{', '.join(servers)}]\n"
                    "names:\n  www: {pool: web}\n"
                ),
            },
        )
        made.serve()
        until(lambda: made.gtm("status").stdout.count("certificate") >= 4)
        said = made.gtm("status").stdout
    lines = {address: next(line for line in said.splitlines() if f" {address} " in line) for address in servers}
    assert " UP " in lines[GOOD]
    assert "certificate" not in lines[GOOD]
    assert " DOWN " in lines[EXPIRED]
    assert f"certificate expired on {day(NOW - 2 * DAY)}" in lines[EXPIRED]
    assert " DOWN " in lines[SELF_SIGNED]
    assert "certificate is self-signed" in lines[SELF_SIGNED]
    assert " DOWN " in lines[WRONG_NAME]
    assert f"certificate is not for {NAME}" in lines[WRONG_NAME]
    assert " DEGRADED " in lines[SOON]
    assert day(NOW + 3 * DAY) in lines[SOON]
