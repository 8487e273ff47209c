"""The conversation with ExaBGP as a state machine: what may be written now, and what came of what was written."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from gtm.wire.exabgp.reply import (
    Done,
    Error,
    Lines,
    Neighbours,
    NeighbourState,
    Other,
    Reply,
    RibRoute,
    Shutdown,
    parse,
)

WINDOW = 64  # commands without an answer: enough to keep ExaBGP busy, few enough to hold in any pipe
QUESTIONS_MAX = 16
ANSWER_MAX = 200_000  # lines of one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """ExaBGP has taken the command for `key`; whether it is on the wire, the Adj-RIB-Out tells."""

    key: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """ExaBGP has refused the command for `key`."""

    key: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What ExaBGP answered to a question, line by line; `ok` False where it refused it, or said far too much."""

    question: str
    ok: bool
    replies: tuple[Reply, ...]


Event = Accepted | Refused | Answer | NeighbourState | Shutdown | Other


@dataclass(slots=True)
class _Outstanding:
    """A command that was written and is not answered; `key` None: a question."""

    key: str | None
    command: str
    since_s: float
    replies: list[Reply]
    full: bool = False


class Session:
    """Wishes by key, of which the newest alone counts, and questions; at most `window` commands are outstanding.

    ExaBGP answers each command with one `done` or `error`, in their order. What is kept is bounded by the number of
    keys, the window, and ANSWER_MAX lines of one answer. Time is an argument, in seconds of any steady clock.
    """

    def __init__(self, *, window: int = WINDOW) -> None:
        self._window = window
        self._lines = Lines()
        self._wishes: OrderedDict[str, str] = OrderedDict()
        self._questions: OrderedDict[str, None] = OrderedDict()
        self._outstanding: deque[_Outstanding] = deque()
        self.unexpected = 0  # answers to nothing

    def wish(self, key: str, command: str) -> None:
        """Have a command written; one for the same key that was not yet written is forgotten."""
        self._wishes.pop(key, None)
        self._wishes[key] = command

    def ask(self, question: str) -> None:
        """Have a question written after all wishes; one that waits already is not asked twice."""
        if len(self._questions) < QUESTIONS_MAX:
            self._questions.setdefault(question)

    @property
    def idle(self) -> bool:
        """Whether all was written and answered."""
        return not (self._wishes or self._questions or self._outstanding)

    @property
    def outstanding(self) -> int:
        """How many commands were written and are not answered."""
        return len(self._outstanding)

    @property
    def waiting(self) -> int:
        """How many wishes and questions were not yet written."""
        return len(self._wishes) + len(self._questions)

    def waited_s(self, now_s: float) -> float:
        """How long the oldest outstanding command has been without an answer; 0 where there is none."""
        return now_s - self._outstanding[0].since_s if self._outstanding else 0.0

    def take(self, now_s: float) -> bytes:
        """What is to be written now: whole lines, each of which then counts as written."""
        lines = []
        while len(self._outstanding) < self._window:
            if self._wishes:
                key, command = self._wishes.popitem(last=False)
                self._outstanding.append(_Outstanding(key, command, now_s, []))
            elif self._questions:
                command, _ = self._questions.popitem(last=False)
                self._outstanding.append(_Outstanding(None, command, now_s, []))
            else:
                break
            lines.append(command.encode("ascii", "replace") + b"\n")
        return b"".join(lines)

    def receive(self, data: bytes) -> list[Event]:
        """What some octets from ExaBGP come to. Never raises."""
        events: list[Event] = []
        for line in self._lines.feed(data):
            if line:
                events.extend(self._heard(parse(line)))
        return events

    def _heard(self, reply: Reply) -> Iterable[Event]:
        match reply:
            case Done() | Error():
                return self._answered(ok=isinstance(reply, Done))
            case NeighbourState() | Shutdown():
                return (reply,)
            case Neighbours() | RibRoute() | Other():
                head = self._outstanding[0] if self._outstanding else None
                if head is None or head.key is not None:
                    self.unexpected += 1
                    return (reply,) if isinstance(reply, Other) else ()
                if len(head.replies) < ANSWER_MAX:
                    head.replies.append(reply)
                else:
                    head.full = True
                return ()

    def _answered(self, *, ok: bool) -> Iterable[Event]:
        if not self._outstanding:
            self.unexpected += 1
            return ()
        head = self._outstanding.popleft()
        if head.key is None:
            return (Answer(question=head.command, ok=ok and not head.full, replies=tuple(head.replies)),)
        what = Accepted if ok else Refused
        return (what(key=head.key, command=head.command),)
