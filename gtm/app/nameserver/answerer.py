"""The current table of a worker and the two paths through it; replaced whole when the controller publishes."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import structlog

from gtm.answer.fast import REMEMBER, Fast, responder
from gtm.answer.marks import Marks
from gtm.answer.pick import STEP_S, seed_at
from gtm.answer.respond import respond
from gtm.app.asked import Asked
from gtm.app.nameserver import counters as c
from gtm.model.errors import StoreError
from gtm.publish.dns.control import Control
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import Loaded, load

log = structlog.get_logger()

RETRY_S = 0.2
_NONE = -1  # no generation: whatever the control block has is new


class Answerer:
    """What a worker answers from.

    `fast` is tried first, and `full` takes everything that it leaves. `look` is called between batches: it costs a
    memory read and a look at the clock while nothing is new.
    """

    fast: Fast

    def __init__(
        self,
        state: Path,
        control: Control,
        counters: memoryview,
        *,
        remember: int = REMEMBER,
        asked: Asked | None = None,
    ) -> None:
        """Load the current table; `remember` is the fast path's, `asked` takes what is asked.

        Raises StoreError if there is no table.
        """
        self._asked = asked
        self._marks: Marks | None = None
        self._remember = remember
        self._state = state
        self._control = control
        self._counters = counters
        self._generation = control.generation
        self._loaded = _loaded(state, None)
        self._next: Loaded | None = None
        self._loading: threading.Thread | None = None
        self._retry_at = 0.0
        self._use(self._loaded)

    def look(self) -> None:
        """Take over the newest table if there is one, and keep the time step of weighted choices."""
        now_s = time.time()
        if now_s // STEP_S != self._step:
            self._bind(now_s)
        if self._next is not None:
            self._use(self._next)
            self._next = self._loading = None
        if self._control.generation != self._generation and self._loading is None and now_s >= self._retry_at:
            self._reload(now_s)

    def full(self, query: bytes, source: bytes, *, tcp: bool = False) -> bytes | None:
        """The answer by the full path, or None for what is better dropped. A fault of ours is SERVFAIL, and counted."""
        counters = self._counters
        try:
            reply = respond(self._loaded.table, query, source, self._seed, tcp=tcp, marks=self._marks)
        except Exception:
            log.exception("answer_fault", query=query.hex(), source=source.hex())
            counters[c.FAULTS] += 1
            return query[:2] + bytes((0x80 | query[2] & 0x79, 2)) + bytes(8) if len(query) >= 12 else None
        if reply is None:
            counters[c.DROPPED] += 1
            return None
        counters[c.FULL] += 1
        counters[c.RCODE + (reply[3] & 15)] += 1
        if reply[2] & 2:
            counters[c.TRUNCATED] += 1
        return reply

    def _reload(self, now_s: float) -> None:
        """Load new answers here and now; new zones or geography in a thread, since they can take a second."""
        self._generation = self._control.generation
        try:
            manifest, before = Manifest.load(self._state / "tables"), self._loaded.manifest
            if (manifest.authority, manifest.classes) == (before.authority, before.classes):
                self._use(_loaded(self._state, self._loaded))
            else:
                self._loading = threading.Thread(target=self._load_aside, daemon=True)
                self._loading.start()
        except StoreError as error:
            self._failed(error, now_s)

    def _load_aside(self) -> None:
        try:
            self._next = _loaded(self._state, self._loaded)
        except StoreError as error:
            self._failed(error, time.time())
            self._loading = None

    def _failed(self, error: StoreError, now_s: float) -> None:
        """Keep the table that is being served, and try again soon: a newer one may have replaced it meanwhile."""
        self._generation = _NONE
        self._counters[c.RELOAD_FAILURES] += 1
        self._retry_at = now_s + RETRY_S
        log.warning("table_not_loaded", reason=str(error), serving=self._loaded.manifest.revision)

    def _bind(self, now_s: float) -> None:
        """Bind the fast path to the table and to the time step of weighted choices."""
        table = self._loaded.table
        self._step = now_s // STEP_S
        self._seed = seed_at(table.key, now_s)
        self._marks = self._marks_of(self._loaded)
        self.fast = responder(table, self._seed, remember=self._remember, marks=self._marks)

    def _marks_of(self, loaded: Loaded) -> Marks | None:
        """Where to note what is asked of a table; None where that cannot be noted, which changes no answer."""
        try:
            return None if self._asked is None else self._asked.marks(loaded.manifest, len(loaded.table.sets))
        except StoreError as error:
            log.warning("asked_not_noted", reason=str(error))
            return None

    def _use(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._bind(time.time())
        gc.freeze()  # tables live until they are replaced: there is nothing in them to be collected
        self._counters[c.REVISION] = loaded.manifest.revision
        self._counters[c.GENERATION] = self._generation
        self._counters[c.RELOADS] += 1


def _loaded(state: Path, earlier: Loaded | None) -> Loaded:
    """The current table. Its many new objects, none of them garbage, would set the collector going again and again."""
    gc.disable()
    try:
        return load(state, earlier)
    finally:
        gc.enable()
