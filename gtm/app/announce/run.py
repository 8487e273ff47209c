"""`gtm announce run`: what ExaBGP starts as its process."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import structlog

from gtm.app.announce import report
from gtm.app.announce.aside import Aside
from gtm.app.announce.engine import Engine
from gtm.app.announce.supervisor import Supervisor
from gtm.app.folders import state_folder
from gtm.app.logs import log_to_stderr
from gtm.model.errors import GtmError

log = structlog.get_logger()

PROBLEM = 1
AGAIN_S = 15.0
FOR_PEOPLE = """\
this is the process that ExaBGP starts: it reads what ExaBGP tells it, and writes commands to ExaBGP.
`gtm announce render --out exabgp.conf` writes a configuration of ExaBGP that does; then `exabgp exabgp.conf`"""


def run(folder: Path) -> int:
    """Supervise until ExaBGP ends; the exit code. Raises GtmError where it was not ExaBGP who started it.

    What cannot work (rights, mostly) is logged, and tried again by the next one that ExaBGP starts.
    """
    if os.isatty(0) or os.isatty(1):
        raise GtmError(FOR_PEOPLE)
    with Aside(sys.stderr.fileno()) as aside:
        log_to_stderr(in_json=not sys.stderr.isatty(), file=aside)
        try:
            engine = Engine.parent()
        except ProcessLookupError as error:
            raise GtmError("ExaBGP, which started this, has ended") from error
        try:
            state = state_folder(folder)
            report.folder(state)
        except GtmError as error:
            log.error("cannot_announce", reason=str(error), again_s=AGAIN_S)
            _wait(engine, AGAIN_S)
            return PROBLEM
        thinker = (sys.executable, "-m", "gtm.app.announce.think", "--folder", str(folder.resolve()))
        return Supervisor(state, thinker, engine).run()


def _wait(engine: Engine, seconds: float) -> None:
    """Let some time pass before ExaBGP starts us again: it ends at the sixth time within 64 s, and others with it."""
    poll = select.poll()
    poll.register(engine.descriptor, select.POLLIN)
    poll.poll(seconds * 1000)
