"""The API process: `python -m gtm.app.api`. Reads the state folder, and leaves there what is pushed.

Nothing else notices whether it lives.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn

from gtm.app import explain, report
from gtm.app.crew import hold
from gtm.app.endpoint import parse_endpoint
from gtm.app.inlet import StateInlet
from gtm.app.logs import log_to_stderr
from gtm.app.view import read_view
from gtm.app.worker import tell
from gtm.model.address import Endpoint
from gtm.model.errors import GtmError
from gtm.web.application import build
from gtm.web.source import Question
from gtm.web.status import Status


class StateSource:
    """What the web application reads, from a state folder."""

    def __init__(self, state: Path) -> None:
        """Read from this state folder."""
        self._state = state

    def status(self) -> Status:
        """The node now. Raises StoreError where nothing has been published yet."""
        return report.status_of(read_view(self._state))

    def explain(self, question: Question) -> Mapping[str, object]:
        """The explanation as a JSON-ready document. Raises AskedError, StoreError."""
        return explain.document(self._state, question)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Exit code 0, or 1 where the address cannot be had."""
    parser = argparse.ArgumentParser(prog="gtm-api", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the state folder to read")
    parser.add_argument("--listen", required=True, type=parse_endpoint, metavar="ADDR:PORT")
    parser.add_argument(
        "--push-token", type=Path, metavar="FILE", help="holds the word for pushing; without it nothing can be pushed"
    )
    parser.add_argument("--ready-fd", type=int, help="a file number to write one octet to once serving")
    options = parser.parse_args(arguments)
    log_to_stderr(in_json=not sys.stderr.isatty())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to handle
    try:
        held = hold(options.state, "api")
        with bound(options.listen) as sock:
            inlet = None if options.push_token is None else StateInlet(options.state, options.push_token)
            application = build(StateSource(options.state), inlet)
            server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
            tell(options.ready_fd)
            server.run(sockets=[sock])
    except GtmError as error:
        print(f"gtm-api: {error}", file=sys.stderr)  # noqa: T201 - the only word of a failed start
        return 1
    del held
    return 0


def bound(endpoint: Endpoint) -> socket.socket:
    """A listening socket. Raises GtmError if the address cannot be had."""
    family = socket.AF_INET if endpoint.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(endpoint.address), endpoint.port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise GtmError(f"cannot listen on {endpoint} (API): {error.strerror}") from error
    return sock


if __name__ == "__main__":
    raise SystemExit(main())
