"""A worker's counters: one shared page that it writes in place and that anybody may read, also after its death."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from gtm.model.errors import StoreError

_MAGIC = int.from_bytes(b"gtm-cnt1", "little")
_BYTES = 4096

# Word numbers. The first four are facts, the rest count.
PID, REVISION, GENERATION = 1, 2, 3
UDP4, UDP6, TCP4, TCP6 = 8, 9, 10, 11
FAST, FULL, DROPPED, TRUNCATED = 12, 13, 14, 15
SEND_ERRORS, TCP_CONNECTIONS, TCP_CLOSED_IDLE, TCP_CLOSED_FULL, TCP_CLOSED_ERROR = 16, 17, 18, 19, 20
RELOADS, RELOAD_FAILURES, FAULTS = 21, 22, 23
RCODE = 32  # and the 15 words after it

NAMES: Mapping[str, int] = {
    "udp4_queries": UDP4,
    "udp6_queries": UDP6,
    "tcp4_queries": TCP4,
    "tcp6_queries": TCP6,
    "fast_answers": FAST,
    "full_answers": FULL,
    "dropped": DROPPED,
    "truncated": TRUNCATED,
    "send_errors": SEND_ERRORS,
    "tcp_connections": TCP_CONNECTIONS,
    "tcp_closed_idle": TCP_CLOSED_IDLE,
    "tcp_closed_full": TCP_CLOSED_FULL,
    "tcp_closed_error": TCP_CLOSED_ERROR,
    "reloads": RELOADS,
    "reload_failures": RELOAD_FAILURES,
    "faults": FAULTS,
    "rcode_noerror": RCODE,
    "rcode_formerr": RCODE + 1,
    "rcode_servfail": RCODE + 2,
    "rcode_nxdomain": RCODE + 3,
    "rcode_notimp": RCODE + 4,
    "rcode_refused": RCODE + 5,
    "rcode_yxdomain": RCODE + 6,
    "rcode_notauth": RCODE + 9,
}


def create(path: Path) -> memoryview:
    """The words of a worker's page, for writing. What an earlier worker of the slot counted goes on."""
    if not path.exists() or path.stat().st_size != _BYTES:
        path.write_bytes(_MAGIC.to_bytes(8, "little") + bytes(_BYTES - 8))
        path.chmod(0o640)
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")


def read(path: Path) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """(facts: pid, revision, generation; counters by name) of a page. Raises StoreError."""
    try:
        words = memoryview(path.read_bytes()).cast("Q")
    except (OSError, TypeError) as error:
        raise StoreError(f"{path}: {error}") from error
    if not words or words[0] != _MAGIC:
        raise StoreError(f"{path}: not a worker's counters")
    facts = {"pid": words[PID], "revision": words[REVISION], "generation": words[GENERATION]}
    return facts, {name: words[number] for name, number in NAMES.items()}
