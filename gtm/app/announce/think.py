"""`python -m gtm.app.announce.think`: the thinker as a process, started by the supervisor with a socket to it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from gtm.app.announce import report
from gtm.app.announce.aside import Aside
from gtm.app.announce.ending import Ending
from gtm.app.announce.engine import Engine
from gtm.app.announce.pipe import READ_BYTES, Hail, Owned, words
from gtm.app.announce.speaker import Announcing, find_speaker
from gtm.app.announce.tenure import Tenure
from gtm.app.announce.thinker import Thinker
from gtm.app.folders import state_folder
from gtm.app.logs import log_to_stderr
from gtm.config.watch import watch_signature
from gtm.model.errors import GtmError

log = structlog.get_logger()

HAIL_S = 10.0
EVICT_S = 3.0  # after which another announcer that does not give way is ended
LOOK_S = 0.02
WATCH_S = 2.0
RELOAD_S = 60.0  # for the next thinker to read a large deployment


def main(arguments: Sequence[str] | None = None) -> int:
    """Think until the supervisor says stop. Exit code 1 where that cannot be, 0 at the end and for a new deployment."""
    parser = argparse.ArgumentParser(prog="gtm-announcer", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the deployment folder")
    parser.add_argument("--fd", type=int, required=True, help="the number of the socket to the supervisor")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):  # the supervisor tells when to stop
        signal.signal(number, signal.SIG_IGN)
    with Aside(sys.stderr.fileno()) as aside:
        log_to_stderr(in_json=not sys.stderr.isatty(), file=aside)
        try:
            asyncio.run(think(options.folder, socket.socket(fileno=options.fd)))
        except GtmError as error:
            log.error("cannot_announce", reason=str(error))
            return 1
    return 0


async def think(folder: Path, sock: socket.socket) -> None:
    """Announce as a folder says. Raises GtmError where it cannot."""
    sock.settimeout(0.0)
    signature = watch_signature(folder)
    found = await asyncio.to_thread(find_speaker, folder)
    state = state_folder(folder)
    report.folder(state)
    tenure = Tenure(state)
    await _tenured(tenure)
    owned, hail = await _greeted(sock)
    try:
        engine, supervisor = Engine(hail.exabgp_pid), Engine(hail.supervisor_pid)
    except ProcessLookupError:
        raise GtmError("ExaBGP or the supervisor has ended") from None
    thinker = Thinker(found, folder, state, sock, hail, owned)
    watching = asyncio.create_task(_watch(folder, signature, found, thinker), name="watch")
    try:
        await thinker.run()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if thinker.fault is not None:
        raise GtmError(thinker.fault)
    await Ending(thinker, tenure, found.anycast, engine, supervisor).run()


async def _tenured(tenure: Tenure) -> None:
    """Wait until no other announcer of this node thinks; one that does not give way is ended."""
    patience_s = time.monotonic() + EVICT_S
    while not tenure.take():
        if time.monotonic() > patience_s:
            if (pid := tenure.evict()) != 0:
                log.warning("evicted", pid=pid)
            patience_s = time.monotonic() + EVICT_S
        await asyncio.sleep(LOOK_S)


async def _greeted(sock: socket.socket) -> tuple[list[Owned], Hail]:
    """The supervisor's first words. Raises GtmError if there are none."""
    owned: list[Owned] = []
    try:
        async with asyncio.timeout(HAIL_S):
            while datagram := await asyncio.get_running_loop().sock_recv(sock, READ_BYTES):
                for word in words(datagram):
                    if isinstance(word, Hail):
                        return owned, word
                    if isinstance(word, Owned):
                        owned.append(word)
    except OSError:  # no word for too long, or an end that was cut off
        pass
    raise GtmError(f"the supervisor, process {os.getppid()}, did not say anything")


async def _watch(folder: Path, signature: str, found: Announcing, thinker: Thinker) -> None:
    """End the thinker, for another one to begin, once the deployment's files say something else about announcing."""
    while True:
        await asyncio.sleep(WATCH_S)
        now = await asyncio.to_thread(watch_signature, folder)
        if now == signature:
            continue
        signature = now
        try:
            fresh = await asyncio.to_thread(find_speaker, folder)
        except GtmError as error:
            log.error("not_reloaded", reason=str(error))
            continue
        if fresh.anycast != found.anycast or fresh.deployment.node != found.deployment.node:
            log.info("reloading", reason="bgp/anycast.yaml or gtm.yaml says something else")
            thinker.hold(RELOAD_S)
            thinker.ending.set()
            return


if __name__ == "__main__":
    raise SystemExit(main())
