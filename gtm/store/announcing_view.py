"""What a speaker knows of the others through the shared store, and how that follows the store's changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm.model.errors import StoreError
from gtm.store.etcd.layout import Layout, LeaveKey, SpeakerKey
from gtm.wire import etcd_answer
from gtm.wire.announcing import Leaving, Telling, decode_leaving, decode_telling


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTelling:
    """What a speaker told last. `fresh`: its lease stands, and it was heard of within its time."""

    telling: Telling
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncingView:
    """What is known now. `connected` only while all of it has been confirmed within the lease of the thinker.

    `speakers` by node, ours among them; `permits` by service: who has them now; `held` the services whose permit this
    speaker may rely on; `told` the services of which the store has our latest `leaving`, and `speakers` is not older
    than that. `age_s`: since it was confirmed last (None: never). `problem` is what is wrong, in words.
    """

    connected: bool
    age_s: float | None
    speakers: Mapping[str, OtherTelling]
    permits: Mapping[str, Leaving]
    held: frozenset[str]
    told: frozenset[str]
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A speaker's key as the store has it, and when something of it was new to us, on our steady clock."""

    pair: etcd_answer.KeyValue
    telling: Telling
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """A permit's key as the store has it."""

    pair: etcd_answer.KeyValue
    leaving: Leaving


class Picture:
    """The speakers and permits at `revision`, folded from what the store says. Times are of the steady clock."""

    def __init__(self, layout: Layout) -> None:
        """Empty."""
        self._layout = layout
        self.speakers: dict[str, Heard] = {}
        self.permits: dict[str, Permit] = {}
        self.faults: dict[bytes, str] = {}
        self.revision = 0

    def replace(self, found: etcd_answer.Found, *, now_s: float) -> None:
        """Take everything that the store has. A speaker counts as heard of if its key is new to us."""
        before = self.speakers
        self.speakers, self.permits, self.faults = {}, {}, {}
        for pair in found.pairs:
            self._put(pair, now_s=now_s)
        for node, heard in self.speakers.items():
            old = before.get(node)
            if old is not None and old.pair.mod_revision == heard.pair.mod_revision:
                self.speakers[node] = old
        self.revision = found.revision

    def apply(self, batch: etcd_answer.Batch, *, now_s: float) -> bool:
        """Take changes; whether there is anything in them but speakers that are still there."""
        news = False
        for event in batch.events:
            if event.deleted:
                news |= self._delete(event.pair)
            else:
                news |= self._put(event.pair, now_s=now_s)
        self.revision = max(self.revision, *(one.pair.mod_revision for one in batch.events), 0)
        return news

    def _put(self, pair: etcd_answer.KeyValue, *, now_s: float) -> bool:
        self.faults.pop(pair.key, None)
        try:
            match self._layout.read_announcing(pair.key):
                case SpeakerKey(node=node):
                    heard = Heard(pair=pair, telling=decode_telling(pair.value), at_s=now_s)
                    before = self.speakers.get(node)
                    self.speakers[node] = heard
                    return before is None or _said(before) != _said(heard)
                case LeaveKey(service=service):
                    self.permits[service] = Permit(pair=pair, leaving=decode_leaving(pair.value))
                    return True
        except StoreError as error:
            # What cannot be read announces nothing; a permit that cannot be read is refused by its key all the same.
            self._delete(pair)
            self.faults[pair.key] = f"{pair.key.decode('utf-8', 'replace')[:80]}: {error}"
            return True
        return False

    def _delete(self, pair: etcd_answer.KeyValue) -> bool:
        self.faults.pop(pair.key, None)
        match self._layout.read_announcing(pair.key):
            case SpeakerKey(node=node):
                return self.speakers.pop(node, None) is not None
            case LeaveKey(service=service):
                return self.permits.pop(service, None) is not None
        return False


def _said(heard: Heard) -> tuple[object, ...]:
    return heard.telling.region, heard.telling.services
