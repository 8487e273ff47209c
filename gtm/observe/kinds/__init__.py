"""The probes of every kind but plain HTTP/1.1 and TCP, one module each; `ask` finds the one for a check."""

from __future__ import annotations

from gtm.model.check import Check, Target
from gtm.observe.attempt import Ask


def ask(target: Target, check: Check) -> Ask:
    """How a target is asked, ready to be run any number of times. Raises ValueError if the check cannot be made."""
    raise ValueError(f"{type(check.probe).__name__} of {target} cannot be made")
