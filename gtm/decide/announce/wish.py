"""What is to be true of a service's announcement at one speaker, until the next step."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.anycast import ExitPolicy, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The outcome of one step. What it looks like on the wire is worked out by `routes`.

    - `announce`: the route is to stand, with the treatment of `look`; `address`: the addresses are to be on the
      interface (put on before an announcement, taken off after it is gone).
    - `rung` is the ladder's that is in force, `rungs` all down to it, `rungs_left` those to come, and `eta_s` how long
      these take at most from now (None: not on the ladder, or one of them has no deadline).
    - `leaving` must be told to the other speakers (OtherSpeaker.leaving), `wants_permit` asked of the store: made where
      there is none, renewed where this region has it. One that is no longer wanted is left to run out, or given back if
      `returns_permit`: nobody has left with it.
    - `on_expiry` is what the lease comes to if nobody thinks any more.
    - `wake_s` is the moment for the next step if nothing happens before; None: nothing to wait for.
    - `passed` are the phases entered in this step, in their order; `warnings` what people should look at.
    """

    phase: Phase
    reason: str
    announce: bool
    address: bool
    look: Phase
    rung: str | None = None
    rungs: tuple[str, ...] = ()
    rungs_left: tuple[str, ...] = ()
    eta_s: float | None = None
    leaving: bool = False
    wants_permit: bool = False
    returns_permit: bool = False
    on_expiry: ExitPolicy = ExitPolicy.WITHDRAW
    wake_s: float | None = None
    passed: tuple[Phase, ...] = ()
    warnings: tuple[str, ...] = ()
