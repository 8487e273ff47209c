"""What one speaker knows of one service at one moment: all that a decision may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gtm.decide.announce.rpki import Validity
from gtm.model.address import IPNetwork
from gtm.model.check import Target
from gtm.model.health import Judgement
from gtm.model.override import Override


class Permit(StrEnum):
    """The permit to leave a service, which one region at a time has. NONE: not asked for, or not answered yet."""

    NONE = "none"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSpeaker:
    """Another speaker of the service, as the shared store has it.

    `announcing`: its route stands; `leaving`: it has told that it wants to withdraw it (Wish.leaving). `fresh`: its
    lease stands.
    """

    node: str
    region: str
    fresh: bool
    announcing: bool
    leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The inputs of one step. `now_s` and all other moments are of one steady clock.

    - `local` has the judgements of the service's own checks; `region_up` is the plan's word on its pool in this region
      (None: not asked, or not known), `controller_age_s` how old that word is (None: no controller is followed).
    - `drain` is the order that stands now, if any, on the service's region, speaker or itself; `disabled` why it was
      taken out on this machine. `connections` on its addresses; None: not known.
    - `store`: None where none is configured, False while it is away. It is True only if `others` is complete and has
      been confirmed within `Lease.ttl_s`.
    - `told`: the store has the `leaving` of this speaker's last wish, and `others` was read at that revision or later.
      It is what keeps two instances of a region from leaving because of each other: of two that tell first and then
      look, at least one sees the other.
    - `permit` belongs to a region. It is HELD only if this speaker has made or renewed it for `leave_window_s` within
      the last `Lease.ttl_s` (that it stands is not enough: it may be about to run out), and read `others` at that
      revision or later. `permit_reason` says who has it otherwise. The window must be longer than the leases.
    - `rpki` of each prefix; one that is missing has not been found.
    """

    now_s: float
    local: Mapping[Target, Judgement] = field(default_factory=dict)
    region_up: bool | None = None
    controller_age_s: float | None = None
    drain: Override | None = None
    disabled: str | None = None
    connections: int | None = None
    others: tuple[OtherSpeaker, ...] = ()
    store: bool | None = None
    told: bool = False
    permit: Permit = Permit.NONE
    permit_reason: str | None = None
    rpki: Mapping[IPNetwork, Validity] = field(default_factory=dict)
