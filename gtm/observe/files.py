"""How the open files that a process may have are shared out among its probes."""

from __future__ import annotations

import resource

CONCURRENCY_MAX = 6000  # 10,000 targets each 10 s, all of which hang for 3 s, are 3,000 at once; twice that
FILES_KEPT = 200  # descriptors left to the rest of the process
KEPT: set[object] = set()  # who keeps a connection open between probes
_LEAST = 8


def concurrency() -> int:
    """How many probes may run at once: CONCURRENCY_MAX, or half of what the limit on open files leaves."""
    free = _free()
    return CONCURRENCY_MAX if free is None else max(_LEAST, min(CONCURRENCY_MAX, free // 2))


def kept_max() -> int:
    """How many connections may be kept open between probes: what running probes leave."""
    free = _free()
    return 1 << 20 if free is None else max(0, free - concurrency())


def may_keep() -> bool:
    """Whether one more connection may be kept; whoever does is in KEPT as long as it lasts."""
    return len(KEPT) < kept_max()


def _free() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft - FILES_KEPT
