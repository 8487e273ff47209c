"""Flip: how long it takes at least until a verdict may be another one, which is how long an answer may be kept.

As gdnsd has it (src/plugins/mon.c): the results that are still missing, times the interval. Of several things that
matter the soonest counts. It is a hint and not a promise: a person's order, or a vantage point that is lost, may change
a verdict at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil, inf

from gtm.decide.compose import member_target
from gtm.model.check import Cadence, Check, Composed, Target
from gtm.model.health import Health, Judgement, Vote
from gtm.model.override import Override
from gtm.model.plan import Cause
from gtm.model.snapshot import Snapshot

NEVER_S = inf

_UNJUDGED = Judgement()
_VERDICTS = frozenset({Health.UP, Health.DEGRADED, Health.DOWN})
_SERVES = frozenset({Health.UP, Health.DEGRADED})
_LACKS = frozenset({Health.DEGRADED, Health.DOWN})


class Flips:
    """The times after which what a snapshot knows may change; each target's is worked out once."""

    def __init__(self, snapshot: Snapshot) -> None:
        """For the targets and the orders of a snapshot."""
        self._judgements = snapshot.judgements
        self._checks = snapshot.deployment.checks
        self._own = snapshot.deployment.node.name
        self._now_s = snapshot.now_s
        self._known: dict[Target, float] = {}

    def of(self, cause: Cause) -> float:
        """Seconds until an instance's health may change that follows from this; NEVER_S where nothing can change it."""
        match cause:
            case None:
                return NEVER_S
            case Override():
                return left_s(cause, self._now_s)
            case _:
                known = self._known.get(cause)
                if known is None:
                    known = self._known[cause] = self._of_target(cause)
                return known

    def _of_target(self, target: Target) -> float:
        return min(
            flip_s(self._judgements.get(each, _UNJUDGED), self._checks[each.check], self._own)
            for each in probed(target, self._checks)
        )


def flip_s(judgement: Judgement, check: Check, own: str | None = None) -> float:
    """The least time in whole seconds until the verdict of a probed target may change; 0 if there is none yet.

    It takes as many more results as `fall` and `rise` ask for, an interval apart, or `fast_s` once results contradict
    the verdict. With votes it takes as many vantage points as the quorum asks for; what the others counted so far is
    not known here, so only the one named `own` is taken to be closer than a full run.
    """
    if not judgement.votes:
        return _whole(_alone_s(judgement.health, judgement.streak, judgement.failures, check.cadence))
    return _whole(_together_s(judgement, check, own))


def left_s(order: Override, now_s: float) -> float:
    """Whole seconds until an order ends by itself; NEVER_S if it does not."""
    return NEVER_S if order.until_s is None else _whole(max(0.0, order.until_s - now_s))


def probed(target: Target, checks: Mapping[str, Check]) -> Iterator[Target]:
    """What is probed for a target's health: itself, or for a composed one all that it looks at in the end."""
    probe = checks[target.check].probe
    if isinstance(probe, Composed):
        for member in probe.members():
            yield from probed(member_target(member, target), checks)
    else:
        yield target


def _whole(time_s: float) -> float:
    """Rounded down, so that states which differ by less than a TTL can tell are equal."""
    return float(int(time_s + 1e-6))


def _alone_s(health: Health, streak: int, failures: int, cadence: Cadence) -> float:
    """The time for one vantage point, from the counts of a judgement (see decide.health.fold)."""
    match health:
        case Health.UP:
            missing = cadence.fall - max(streak, failures)
        case Health.DEGRADED:
            missing = min(cadence.fall - failures, cadence.rise - streak)
        case Health.DOWN:
            missing, failures = cadence.rise - streak, 0
        case _:
            return 0.0
    fast_s = cadence.interval_s if cadence.fast_s is None else min(cadence.fast_s, cadence.interval_s)
    next_s = fast_s if streak or failures else cadence.interval_s
    return next_s + (max(1, missing) - 1) * fast_s


def _together_s(judgement: Judgement, check: Check, own: str | None) -> float:
    """The time until so many of the counted votes are others that the quorum comes to something else.

    Counted as quorum.agree counts. Where no vote is counted the next one decides, which may come at once.
    """
    votes = [vote for vote in judgement.votes if vote.counted and vote.health in _VERDICTS]
    need = max(1, ceil(check.quorum * len(votes) - 1e-9))
    down = sum(vote.health is Health.DOWN for vote in votes)
    lacking = sum(vote.health in _LACKS for vote in votes)

    def soonest(count: int, among: Iterable[Health]) -> float:
        times = sorted(_vote_s(vote, judgement, check.cadence, own) for vote in votes if vote.health in among)
        return _place(times, count)

    match judgement.health:
        case Health.UP:
            return soonest(need - lacking, (Health.UP,))
        case Health.DEGRADED:
            return min(soonest(need - down, _SERVES), soonest(lacking - need + 1, _LACKS))
        case Health.DOWN:
            return soonest(down - need + 1, (Health.DOWN,))
        case _:
            return 0.0


def _vote_s(vote: Vote, judgement: Judgement, cadence: Cadence, own: str | None) -> float:
    streak, failures = (judgement.streak, judgement.failures) if vote.vantage == own else (0, 0)
    return _alone_s(vote.health, streak, failures, cadence)


def _place(times: Sequence[float], count: int) -> float:
    """The `count`-th of sorted times; 0 where there are none."""
    return times[min(max(count, 1), len(times)) - 1] if times else 0.0
