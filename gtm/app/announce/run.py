"""`gtm announce run`: what ExaBGP starts as its process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gtm.app.announce import report
from gtm.app.announce.engine import Engine
from gtm.app.announce.supervisor import Supervisor
from gtm.app.folders import state_folder
from gtm.app.logs import log_to_stderr
from gtm.model.errors import GtmError

FOR_PEOPLE = """\
this is the process that ExaBGP starts: it reads what ExaBGP tells it, and writes commands to ExaBGP.
`gtm announce render --out exabgp.conf` writes a configuration of ExaBGP that does; then `exabgp exabgp.conf`"""


def run(folder: Path) -> int:
    """Supervise until ExaBGP ends; the exit code. Raises GtmError where it was not ExaBGP who started it."""
    if os.isatty(0) or os.isatty(1):
        raise GtmError(FOR_PEOPLE)
    log_to_stderr(in_json=not sys.stderr.isatty())
    state = state_folder(folder)
    report.folder(state)
    try:
        engine = Engine.parent()
    except ProcessLookupError as error:
        raise GtmError("ExaBGP, which started this, has ended") from error
    thinker = (sys.executable, "-m", "gtm.app.announce.think", "--folder", str(folder.resolve()))
    return Supervisor(state, thinker, engine).run()
