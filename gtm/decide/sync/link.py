"""One peer: a session that no recording of an earlier one can imitate, and the pages in it.

Each end names its side of a session by a fresh random number, its epoch. What comes is believed only if it names this
end's epoch, so whoever sent it heard of it in this session; no clock and no memory over restarts is needed. A HELLO to
nobody (toward 0) is answered, to the peer's configured address, and changes nothing else: it may be old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from gtm.decide.sync.stream import Receiving, Sending
from gtm.decide.sync.window import Window
from gtm.model.sync import PAGE_WORDS_MAX, WORD_BYTES, Datagram, Kind, Page, Section

HELLO_S = 0.25  # between greetings while there is no session
BEAT_S = 1.0  # the longest silence of an end that lives
LOST_S = 10.0  # without a word, after which a new session is offered; until then the old one goes on where it was
WAITING_WORDS_MAX = 1 << 20  # 8 MB of events for a peer that takes none; then it gets all flows anew
PAGE_BYTES = PAGE_WORDS_MAX * WORD_BYTES
NOTHING = Page(section=Section.NONE)


class Link:
    """What this instance and one peer have told each other."""

    def __init__(self, *, own: int, table: int, nonces: Iterator[int]) -> None:
        """`own` is this instance as datagrams name it, `table` what its flows are for; `nonces` are never 0."""
        self._own, self._table, self._nonces = own, table, nonces
        self._number = 0
        self._epoch = self._toward = 0  # of the session; 0: there is none
        self._fresh = next(nonces)  # this end's epoch of the next session, offered until somebody takes it up
        self._answer: int | None = None
        self._said_s = float("-inf")
        self._greeted_s = float("-inf")
        self._owes = False
        self.heard_s: float | None = None  # when the peer last said something, in any session
        self.peer_table: int | None = None
        self.peer_ready = False
        self.complete = False  # a bulk transfer from the peer came in full, in whichever session
        self.sessions = self.repeated = self.stale = 0
        self._start()

    def _start(self) -> None:
        """Both streams at their beginning."""
        self._window, self._sending, self._receiving = Window(), Sending(), Receiving()
        self._bulk: Iterator[Page] | None = None
        self._bulk_words = 0
        self._waiting: deque[tuple[Section, bytearray]] = deque()
        self.waiting_words = 0
        self._owed = bool(self._epoch)  # a bulk transfer to the peer
        self._asking = False
        self._gathered: int | None = None  # words of the peer's bulk transfer so far; None outside of one

    @property
    def established(self) -> bool:
        """Whether there is a session; the peer may be silent all the same."""
        return self._epoch != 0

    @property
    def compatible(self) -> bool:
        """Whether the peer's flows mean the same here; True until it has said."""
        return self.peer_table in {None, self._table}

    @property
    def wants_bulk(self) -> bool:
        """Whether the peer is to get all that this instance knows: the caller is to call `bulk`."""
        return self._owed and self.compatible

    @property
    def outstanding(self) -> int:
        """Pages on their way."""
        return self._sending.outstanding

    @property
    def idle(self) -> bool:
        """Whether the peer has acknowledged all that there was to tell."""
        return not (self._owed or self._bulk is not None or self._waiting or self.outstanding)

    @property
    def again(self) -> int:
        """Pages of this session that were sent more than once."""
        return self._sending.again

    def receive(self, one: Datagram, now_s: float) -> list[Page]:
        """The pages, in the order in which the peer told them, that this datagram brings to light.

        BEGIN, END and ASK are seen to here; the others are the caller's.
        """
        if not self._belongs(one):
            return []
        if not self._window.accept(one.number):
            self.repeated += 1
            return []
        self.heard_s = now_s
        if one.number == self._window.newest:
            self.peer_ready, self.peer_table = one.ready, one.table
        self._sending.acknowledge(one.acknowledged, now_s, bare=one.kind is Kind.ACK)
        if one.kind is not Kind.DATA:
            return []
        self._owes = True
        pages = self._receiving.take(one.sequence, one.page)
        return [page for page in pages if self._notice(page)] if self.compatible else []

    def _belongs(self, one: Datagram) -> bool:
        """Whether the datagram is of the session, or begins one."""
        if self._epoch and (one.toward, one.epoch) == (self._epoch, self._toward):
            return True
        if one.toward == self._fresh:
            self._epoch, self._toward, self._fresh = self._fresh, one.epoch, next(self._nonces)
            self.sessions += 1
            self._owes = True  # so that the peer hears its own new epoch and begins too
            self._start()
            return True
        if one.kind is Kind.HELLO and not one.toward:
            self._answer = one.epoch
        else:
            self.stale += 1
        return False

    def _notice(self, page: Page) -> bool:
        """Keeps count of a bulk transfer; whether the page is the caller's."""
        match page.section:
            case Section.BEGIN:
                self._gathered = 0
            case Section.END:
                told = int.from_bytes(page.words[:WORD_BYTES], "little")
                self.complete = self.complete or self._gathered == told
                self._gathered = None
            case Section.ASK:
                self._owed = True
            case _:
                if self._gathered is not None:
                    self._gathered += page.count
                return True
        return False

    def bulk(self, pages: Iterator[Page]) -> None:
        """All that this instance knows, as `wants_bulk` asks for; read as there is room. Events wait behind it."""
        self._waiting.clear()
        self.waiting_words = 0
        self._bulk = self._framed(pages)
        self._owed = False

    def _framed(self, pages: Iterator[Page]) -> Iterator[Page]:
        yield Page(section=Section.BEGIN)
        words = 0
        for page in pages:
            words += page.count
            yield page
        yield Page(section=Section.END, words=words.to_bytes(WORD_BYTES, "little"))

    def tell(self, section: Section, words: bytes) -> None:
        """Words for the peer; a peer that will get all anyway is not told."""
        if not self.established or self._owed or not self.compatible:
            return
        if self.waiting_words + len(words) // WORD_BYTES > WAITING_WORDS_MAX:
            self._bulk, self._owed = None, True
            return
        self.waiting_words += len(words) // WORD_BYTES
        if self._waiting and self._waiting[-1][0] is section:
            self._waiting[-1][1].extend(words)
        else:
            self._waiting.append((section, bytearray(words)))

    def renew(self) -> None:
        """The peer is to get all once more: something was not told."""
        self._owed = self.established

    def ask(self) -> None:
        """Has the peer send all it knows once more."""
        self._asking = self.established

    def _following(self) -> Page | None:
        if self._asking:
            self._asking = False
            return Page(section=Section.ASK)
        if self._bulk is not None:
            page = next(self._bulk, None)
            if page is not None:
                return page
            self._bulk = None
        if not self._waiting:
            return None
        section, words = self._waiting[0]
        page = Page(section=section, words=bytes(words[:PAGE_BYTES]))
        del words[:PAGE_BYTES]  # of a bytearray: it moves its beginning, not its content
        self.waiting_words -= page.count
        if not words:
            self._waiting.popleft()
        return page

    def send(self, now_s: float, *, ready: bool) -> list[Datagram]:
        """What is to be sent to the peer now."""
        found = []
        if self.established and self.compatible:
            for sequence, page in self._sending.take(self._following, now_s):
                found.append(self._datagram(Kind.DATA, ready=ready, sequence=sequence, page=page))
        if self.established and not found and (self._owes or now_s >= self._said_s + BEAT_S):
            found.append(self._datagram(Kind.ACK, ready=ready))
        if found:
            self._said_s, self._owes = now_s, False
        if self._answer is not None:
            found.append(self._greeting(self._answer, ready=ready))
            self._answer = None
        if now_s >= self._greeted_s + (BEAT_S if self.established else HELLO_S) and self._alone(now_s):
            found.append(self._greeting(0, ready=ready))
            self._greeted_s = now_s
        return found

    def due_s(self, now_s: float) -> float:
        """When `send` has something to do at the latest, if nothing comes and nothing is told before."""
        if not self.established:
            return self._greeted_s + HELLO_S
        due = [self._said_s + BEAT_S]
        if self._alone(now_s):
            due.append(self._greeted_s + BEAT_S)
        again_s = self._sending.due_s()
        return min(due if again_s is None else [*due, again_s])

    def _alone(self, now_s: float) -> bool:
        return not self.established or (self.heard_s is not None and now_s >= self.heard_s + LOST_S)

    def _greeting(self, toward: int, *, ready: bool) -> Datagram:
        return self._datagram(Kind.HELLO, ready=ready, epoch=self._fresh, toward=toward)

    def _datagram(
        self,
        kind: Kind,
        *,
        ready: bool,
        epoch: int | None = None,
        toward: int | None = None,
        sequence: int = 0,
        page: Page = NOTHING,
    ) -> Datagram:
        self._number += 1
        return Datagram(
            kind=kind,
            sender=self._own,
            epoch=self._epoch if epoch is None else epoch,
            toward=self._toward if toward is None else toward,
            number=self._number,
            acknowledged=self._receiving.count if epoch is None else 0,
            table=self._table,
            sequence=sequence,
            ready=ready,
            page=page,
        )
