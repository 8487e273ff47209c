"""The DNS worker: `python -m gtm.app.worker`. Answers from the tables in a state folder, controller or not."""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from gtm.answer.fast import REMEMBER
from gtm.app.asked import SUFFIX as ASKED
from gtm.app.asked import Asked
from gtm.app.crew import FOLDER, hold
from gtm.app.endpoint import parse_endpoint
from gtm.app.logs import log_to_stderr
from gtm.app.nameserver import counters as c
from gtm.app.nameserver.answerer import Answerer
from gtm.app.nameserver.loop import Loop
from gtm.model.address import Endpoint
from gtm.model.errors import GtmError, StoreError
from gtm.observe.rtt.ring import SUFFIX, RingWriter
from gtm.publish.dns.control import Control

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Exit code 0, or 1 where a socket, the slot or a table cannot be had."""
    parser = argparse.ArgumentParser(prog="gtm-worker", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the state folder that the controller publishes into")
    parser.add_argument("--slot", type=int, default=0, help="this worker's number on the node")
    parser.add_argument("--listen", action="append", required=True, type=parse_endpoint, metavar="ADDR:PORT")
    parser.add_argument("--user", help="the account to become once the sockets are bound")
    parser.add_argument("--ready-fd", type=int, help="a file number to write one octet to once serving")
    options = parser.parse_args(arguments)
    log_to_stderr(in_json=not sys.stderr.isatty())
    try:
        serve(options.state, options.slot, options.listen, options.user, lambda: tell(options.ready_fd))
    except GtmError as error:
        print(f"gtm-worker {options.slot}: {error}", file=sys.stderr)  # noqa: T201 - the only word of a failed start
        return 1
    return 0


def serve(state: Path, slot: int, endpoints: Sequence[Endpoint], user: str | None, ready: Callable[[], None]) -> None:
    """Take the slot, bind, drop privileges, load the table, and answer until SIGTERM. Raises GtmError."""
    held = hold(state, f"dns-{slot}")
    loop = Loop(endpoints)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to handle
    counters = c.create(state / FOLDER / f"dns-{slot}.counters")
    ring = ring_of(state / FOLDER / f"dns-{slot}{SUFFIX}")
    asked = asked_of(state / FOLDER / f"dns-{slot}{ASKED}")
    if user is not None and os.geteuid() == 0:
        become(user)
    answerer = Answerer(state, Control(state), counters, remember=remembered(), asked=asked)
    counters[c.PID] = os.getpid()
    ready()
    loop.run(answerer, counters, ring)
    del held


def ring_of(path: Path) -> RingWriter | None:
    """The ring for round-trip times of TCP clients, or None where there can be none: answering does not need it."""
    try:
        return RingWriter(path)
    except StoreError as error:
        log.warning("rtts_not_kept", reason=str(error))
        return None


def asked_of(path: Path) -> Asked | None:
    """Where to note which names are asked, or None where that cannot be noted: answering does not need it."""
    try:
        return Asked(path)
    except StoreError as error:
        log.warning("asked_not_noted", reason=str(error))
        return None


def remembered() -> int:
    """How many queries' outcomes to remember: GTM_REMEMBER in the environment, or the default. Raises GtmError."""
    text = os.environ.get("GTM_REMEMBER", str(REMEMBER))
    if not text.isascii() or not text.isdigit():
        raise GtmError(f"GTM_REMEMBER={text}: is not a number of queries (allowed: 0 or more)")
    return int(text)


def tell(ready_fd: int | None) -> None:
    """Say to whoever started this process that it serves."""
    if ready_fd is not None:
        os.write(ready_fd, b"1")
        os.close(ready_fd)


def become(user: str) -> None:
    """Give up root for an account. Raises GtmError if there is no such account."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise GtmError(f"user {user} does not exist") from None
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


if __name__ == "__main__":
    raise SystemExit(main())
