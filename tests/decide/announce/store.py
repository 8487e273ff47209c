"""A store like etcd, as far as speakers use it: one order of writes, records under leases, and the permit to leave."""

from __future__ import annotations

from dataclasses import dataclass, field

from gtm.decide.announce.sight import OtherSpeaker, Permit

STORE_TTL_S = 2.0  # of a speaker's record
WINDOW_S = 8.0  # of a permit


@dataclass(frozen=True, slots=True)
class View:
    """The store as one speaker read it."""

    sent_s: float  # by the speaker's clock, before anything was asked
    others: tuple[OtherSpeaker, ...]
    permit: Permit
    reason: str | None
    episode: int


@dataclass(slots=True)
class Record:
    """What a speaker has in the store, and until when."""

    region: str
    announcing: bool
    leaving: bool
    until_s: float


@dataclass(slots=True)
class Store:
    """An etcd as far as it matters here: one order of all writes, leases, and a key that is made only once."""

    records: dict[str, Record] = field(default_factory=dict)
    permit: tuple[str, str, float] | None = None  # node, region, until
    away: bool = False

    def write(self, name: str, region: str, told: Told, now_s: float) -> None:
        self.records[name] = Record(region, told.announcing, told.leaving, now_s + STORE_TTL_S)
        held = self.permit if self.permit is not None and self.permit[2] > now_s else None
        if told.wants_permit:
            if held is None or held[1] == region:
                self.permit = (name, region, now_s + WINDOW_S)
        elif told.gives_back and held is not None and held[0] == name:
            self.permit = None

    def read(
        self, name: str, region: str, told: Told, now_s: float
    ) -> tuple[tuple[OtherSpeaker, ...], Permit, str | None]:
        others = tuple(
            OtherSpeaker(
                node=each_name,
                region=each.region,
                fresh=each.until_s > now_s,
                announcing=each.announcing,
                leaving=each.leaving,
            )
            for each_name, each in self.records.items()
            if each_name != name
        )
        held = self.permit if self.permit is not None and self.permit[2] > now_s else None
        if held is None or not told.wants_permit:  # without having asked, it may be about to run out
            return others, Permit.NONE, None
        if held[1] == region:
            return others, Permit.HELD, None
        return others, Permit.REFUSED, f"{held[0]} is leaving"


@dataclass(frozen=True, slots=True)
class Told:
    """What a speaker writes."""

    announcing: bool
    leaving: bool
    wants_permit: bool
    gives_back: bool
    episode: int
