"""The supervisor: the process that ExaBGP started. It owns the pipes to ExaBGP and the leases, and does not think.

It always reads what ExaBGP writes, never waits to write, and starts the thinker again when it has died. Where a lease
is over it withdraws by itself; where ExaBGP does not take that, it ends ExaBGP, and its sessions with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from gtm.app.announce import ledger
from gtm.app.announce.child import Child
from gtm.app.announce.engine import Engine
from gtm.app.announce.lease import START_S, Awake, Lease
from gtm.app.announce.pipe import (
    Ask,
    Beat,
    Expired,
    Hail,
    Leaving,
    Order,
    Owned,
    Renew,
    Stop,
    Version,
    Want,
    split,
)
from gtm.model.errors import StoreError
from gtm.model.route import Route
from gtm.wire.exabgp.command import key
from gtm.wire.exabgp.dialect import SHOW_RIB, VERSION
from gtm.wire.exabgp.reply import NeighbourState, Other, RibRoute, Shutdown
from gtm.wire.exabgp.session import Accepted, Answer, Event, Refused, Session

log = structlog.get_logger()

BEAT_S = 0.25
TAKE_S = 3.0  # for ExaBGP to take a withdrawal; measured: 2 ms
STUCK_S = 10.0  # for ExaBGP to answer anything
TERM_S = 2.0  # for ExaBGP to end by SIGTERM; measured: 0.2 s
STOP_S = 1.5  # for the thinker to end; ExaBGP gives both of us 2 s
LAST_S = 0.3  # for what the supervisor itself withdraws at the end
WEDGED_S = 30.0  # a thinker that was silent for so long is replaced
READ_BYTES = 1 << 16


class Supervisor:
    """One ExaBGP, one thinker, and the routes between them."""

    def __init__(self, state: Path, thinker: Sequence[str], engine: Engine, *, stdin: int = 0, stdout: int = 1) -> None:
        """`thinker` is the command that thinks; `engine` is ExaBGP, at the other end of both pipes."""
        self._state = state
        self._engine = engine
        self._in, self._out = stdin, stdout
        self._session = Session()
        self._child = Child(thinker)
        self._lease = Lease()
        self._clock = Awake(time.monotonic())
        self._unwritten = b""
        found = ledger.load(state, engine.name)
        self._durations: dict[str, float | None] = dict(found.leases)
        self._owned: dict[str, Owned] = {each.key: each for each in found.owned}
        self._dirty = False
        self._going: set[str] = set()  # keys whose withdrawal is not answered
        self._expired: set[str] = set()  # keys that the lease took, until ExaBGP is seen to have them no more
        self._known = bool(found.owned)  # that the parent is ExaBGP
        self._version: str | None = None
        self._ended_s: float | None = None  # when ExaBGP was told to end
        self._stop_s: float | None = None  # when it is over for us
        self._engine_ends = False
        self._beat_s = 0.0
        self._heard_s = 0.0  # when ExaBGP wrote anything
        self._last = False
        self._done = False

    def run(self) -> int:
        """Work until ExaBGP or a signal ends it; the exit code."""
        for descriptor in (self._in, self._out):
            os.set_blocking(descriptor, False)
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        now_s = self._clock.now_s
        kept = {group: None if d is None else max(d, START_S) for group, d in self._durations.items()}
        self._lease.renew(kept, now_s)
        self._session.ask(VERSION)
        while not self._done:
            self._turn(wake)
        self._save()
        return 0

    def _turn(self, wake: int) -> None:
        self._wait(wake)
        now_s = self._clock.look(time.monotonic())
        if _drained(wake):
            self._stop(exabgp_ends=False)
        self._read()
        for order in self._child.hear(now_s):
            self._obey(order, now_s)
        self._expire(self._lease.over(now_s), now_s)
        self._tend(now_s)
        self._write(now_s)
        self._judge(now_s)

    def _wait(self, wake: int) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if not self._engine_ends:
            poll.register(self._in, select.POLLIN)
            poll.register(self._engine.descriptor, select.POLLIN)
            if self._unwritten:
                poll.register(self._out, select.POLLOUT)
        if self._child.link is not None:
            poll.register(self._child.link, select.POLLIN | (select.POLLOUT if self._child.waiting else 0))
        due_s = min(self._lease.next_s(), self._beat_s + BEAT_S) - self._clock.now_s
        poll.poll(max(0.0, min(due_s, BEAT_S)) * 1000 + 1)

    # ------------------------------------------------------------------------------------------------------- ExaBGP

    def _read(self) -> None:
        """All that ExaBGP has written."""
        while not self._engine_ends:
            try:
                data = os.read(self._in, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._stop(exabgp_ends=True)
                return
            self._heard_s = self._clock.now_s
            for event in self._session.receive(data):
                self._heard(event)
        if self._engine.gone:
            self._stop(exabgp_ends=True)

    def _heard(self, event: Event) -> None:
        match event:
            case Accepted() | Refused():
                self._answered(event)
                self._child.tell([event])
            case Answer(question=question):
                if question == VERSION:
                    self._note_version(event)
                elif question == SHOW_RIB and self._expired and not self._going:
                    self._verify(event)
                self._child.tell(split(event))
            case NeighbourState():
                self._child.tell([event])
            case Shutdown():
                self._stop(exabgp_ends=True)
            case Other(text=text):
                log.info("exabgp_said", text=text[:200])

    def _answered(self, event: Accepted | Refused) -> None:
        if isinstance(event, Refused):
            log.error("refused_by_exabgp", command=event.command)
        owned = self._owned.get(event.key)
        if owned is None or owned.undo != event.command or event.key not in self._going:
            return
        # Refused or not: whether the route is gone is read from the Adj-RIB-Out, where it matters.
        del self._owned[event.key]
        self._dirty = True
        self._going.discard(event.key)
        if self._expired and not self._going:
            self._session.ask(SHOW_RIB)

    def _note_version(self, answer: Answer) -> None:
        self._known = True
        texts = [each.text for each in answer.replies if isinstance(each, Other)]
        self._version = texts[0] if texts else ""
        self._child.tell([Version(text=self._version)])
        log.info("exabgp", version=self._version, pid=self._engine.pid)

    def _verify(self, answer: Answer) -> None:
        """Whether what the lease took is gone; ExaBGP is ended if it is not."""
        found = {
            key(Route(neighbour=one.neighbour, prefix=one.prefix, attributes=one.attributes, path_id=one.path_id))
            for one in answer.replies
            if isinstance(one, RibRoute)
        }
        left = self._expired & found - self._owned.keys()
        self._expired.clear()
        if left or not answer.ok:
            self._end_engine("it still has what it was told to withdraw", routes=len(left))
        else:
            log.info("withdrawn_and_verified")

    def _end_engine(self, why: str, **facts: object) -> None:
        if self._ended_s is not None:
            return
        if not self._known:
            log.error("parent_is_not_exabgp", pid=self._engine.pid, reason=why)
            return
        log.error("ending_exabgp", pid=self._engine.pid, reason=why, **facts)
        self._engine.send(signal.SIGTERM)
        self._ended_s = self._clock.now_s

    # -------------------------------------------------------------------------------------------------- the thinker

    def _obey(self, order: Order, now_s: float) -> None:
        match order:
            case Want():
                self._want(order)
            case Renew(groups=groups):
                self._lease.renew(groups, now_s)
                if any(self._durations.get(group, 0.0) != expires for group, expires in groups.items()):
                    self._durations.update(groups)
                    self._dirty = True
            case Ask(question=question):
                self._session.ask(question)
            case Leaving():
                log.info("left", reason="the thinker goes on by itself with what is left to do")
                self._child.release()
                self._done = True

    def _want(self, want: Want) -> None:
        if want.undo is None:
            if want.key not in self._owned:
                self._owned[want.key] = Owned(key=want.key, group=want.group, undo=want.command)
            self._withdraw(self._owned[want.key], want.command)
            return
        if not self._lease.stands(want.group):
            return  # it was late, and will be told
        self._going.discard(want.key)
        self._expired.discard(want.key)
        owned = Owned(key=want.key, group=want.group, undo=want.undo)
        if self._owned.get(want.key) != owned:
            self._owned[want.key] = owned
            self._dirty = True
        self._session.wish(want.key, want.command)

    def _withdraw(self, owned: Owned, command: str) -> None:
        self._owned[owned.key] = Owned(key=owned.key, group=owned.group, undo=command)
        self._going.add(owned.key)
        self._session.wish(owned.key, command)

    def _expire(self, groups: Iterable[str], now_s: float) -> None:
        """Withdraw all routes of groups."""
        over = tuple(groups)
        if not over:
            return
        mine = [each for each in self._owned.values() if each.group in over]
        silent_s = round(now_s - self._child.heard_s, 2)
        log.error("lease_over", groups=list(over), routes=len(mine), silent_s=silent_s, pid=self._child.pid)
        for owned in mine:
            self._withdraw(owned, owned.undo)
            self._expired.add(owned.key)
        self._child.tell([Expired(groups=over)])

    def _tend(self, now_s: float) -> None:
        if self._stop_s is None and self._child.tend(now_s):
            self._child.tell([*self._owned.values(), Hail(supervisor_pid=os.getpid(), exabgp_pid=self._engine.pid)])
            if self._version is not None:
                self._child.tell([Version(text=self._version)])
            log.info("thinker_started", pid=self._child.pid, starts=self._child.starts)
        if now_s - self._child.heard_s > WEDGED_S and self._child.pid:
            log.error("thinker_wedged", pid=self._child.pid)
            self._child.kill()
            self._child.heard_s = now_s
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s
            waited_s = self._session.waited_s(now_s)
            self._child.tell(
                [Beat(outstanding=self._session.outstanding, waiting=self._session.waiting, waited_s=waited_s)]
            )
        self._child.flush()

    # ------------------------------------------------------------------------------------------------------ the end

    def _stop(self, *, exabgp_ends: bool) -> None:
        """Have the thinker end; it is given STOP_S."""
        if exabgp_ends:
            self._engine_ends = True
        if self._stop_s is None:
            log.info("stopping", reason="ExaBGP ends" if exabgp_ends else "told to")
            self._stop_s = self._clock.now_s + STOP_S
            self._child.tell([Stop(exabgp_ends=exabgp_ends)])
        elif exabgp_ends:
            self._child.tell([Stop(exabgp_ends=True)])

    def _judge(self, now_s: float) -> None:
        """What is overdue: answers of ExaBGP, its end, and our own."""
        # One that is in the middle of a long answer does not hang.
        waited_s = min(self._session.waited_s(now_s), now_s - self._heard_s)
        if not self._engine_ends and waited_s > (TAKE_S if self._going else STUCK_S):
            self._end_engine("it does not answer", waited_s=round(waited_s, 2), withdrawals=len(self._going))
        if self._ended_s is not None and now_s - self._ended_s > TERM_S:
            self._engine.send(signal.SIGKILL)
        if self._stop_s is None:
            return
        if self._last and (self._engine_ends or not self._going):
            self._done = True
        if now_s < self._stop_s and self._child.pid:
            return
        if self._last or self._engine_ends:
            self._done = True
            return
        self._last = True
        self._stop_s = now_s + LAST_S
        ending = [group for group, expires_s in self._durations.items() if expires_s is not None]
        self._expire(ending, now_s)
        self._write(now_s)

    def _write(self, now_s: float) -> None:
        if self._dirty:
            self._save()
        while not self._engine_ends:
            if not self._unwritten and not (taken := self._session.take(now_s)):
                return
            self._unwritten = self._unwritten or taken
            try:
                count = os.write(self._out, self._unwritten)
            except BlockingIOError:
                return
            except OSError:
                self._stop(exabgp_ends=True)
                return
            self._unwritten = self._unwritten[count:]

    def _save(self) -> None:
        """Write down what ExaBGP may have, before it does."""
        self._dirty = False
        try:
            ledger.save(self._state, self._engine.name, self._owned.values(), self._durations)
        except StoreError as error:
            log.error("ledger_not_written", reason=str(error))


def _drained(descriptor: int) -> bool:
    """Whether there was anything in a pipe that does not block."""
    found = False
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 512):
            found = True
    return found
