"""The panel: what this node's probes found, what other nodes say, and what that makes of every target together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from gtm.decide.compose import compose, composed_in_order
from gtm.decide.health import fold_all
from gtm.decide.quorum import CUT_OFF_SHARE, UNPROVEN, Vantage, cut_off, fails, judge
from gtm.model.check import Check, Composed, Target
from gtm.model.health import Judgement, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A verdict that changed: of this node (`vantage`), or of all together (`vantage` "")."""

    target: Target
    vantage: str
    before: Judgement
    after: Judgement


class Panel:
    """The judgements of a node's targets: `own` by its own probes, `agreed` by all vantage points and composed checks.

    Both are replaced target by target; take a copy to keep. Nothing here waits or asks what time it is.
    """

    def __init__(
        self, node: str, checks: Mapping[Target, Check], remembered: Mapping[Target, Judgement], now_s: float
    ) -> None:
        """For a node's checks, going on from what it `remembered` of its own."""
        self._node = node
        self._others: tuple[Vantage, ...] = ()
        self._blind: frozenset[str] = frozenset()
        self._failing = 0  # own targets that fail
        self._unproven: set[Target] = set()  # DOWN by own word alone, which other targets' results may prove
        self.own: dict[Target, Judgement] = {}
        self.agreed: dict[Target, Judgement] = {}
        self.configure(checks, now_s, remembered)

    @property
    def cut_off(self) -> frozenset[str]:
        """The vantage points whose votes do not count because they see nothing."""
        return self._blind

    def configure(
        self, checks: Mapping[Target, Check], now_s: float, remembered: Mapping[Target, Judgement] | None = None
    ) -> None:
        """Judge these targets from now on; what is known of those that stay is kept."""
        known = self.own if remembered is None else remembered
        self._checks = checks
        self._composed = composed_in_order(checks)
        self.own = {
            target: known[target]
            for target, check in checks.items()
            if target in known and not isinstance(check.probe, Composed)
        }
        self._failing = sum(map(fails, self.own.values()))
        before = self.agreed
        self.agreed = {target: before.get(target) or self.own.get(target) or Judgement() for target in checks}
        self._judge(self._probed(), now_s)

    def fold(self, results: Sequence[tuple[Target, Result]], now_s: float) -> list[Change]:
        """Take in the results of a tick, in any order; the verdicts that changed with them."""
        folded = fold_all(self.own, results, self._checks)
        saw_nothing = self._fails_almost_everywhere()
        changes = []
        for target, after in folded.items():
            before = self.own.get(target) or Judgement()
            self._failing += fails(after) - fails(before)
            if before.health is not after.health:
                changes.append(Change(target=target, vantage=self._node, before=before, after=after))
        self.own.update(folded)
        turned = bool(changes) or self._fails_almost_everywhere() is not saw_nothing
        return changes + self._agree(folded, now_s, own_changed=turned)

    def stall(self, stale: frozenset[Target], now_s: float) -> list[Change]:
        """Have these targets, and no others, be those whose check has not run lately; the verdicts that changed."""
        turned = [target for target, one in self.own.items() if one.stale is not (target in stale)]
        for target in turned:
            self.own[target] = replace(self.own[target], stale=target in stale)
        return self._agree(turned, now_s, own_changed=bool(turned))

    def leave(self, probed: AbstractSet[Target], now_s: float) -> list[Change]:
        """Forget the own judgement of every target but those that this node still probes; the verdicts that changed."""
        left = [target for target in self.own if target not in probed]
        for target in left:
            self._failing -= fails(self.own.pop(target))
        return self._agree(left, now_s, own_changed=bool(left))

    def hear(self, others: Sequence[Vantage], now_s: float) -> list[Change]:
        """Take in what all other vantage points say now; the verdicts that changed."""
        before = {one.name: one for one in self._others}
        self._others = tuple(others)
        if [one.name for one in others if one.fresh] != [name for name, one in before.items() if one.fresh]:
            return self._agree(self._probed(), now_s, own_changed=True)
        turned = {target for one in others for target in _differing(_opinions(before.get(one.name)), one.opinions)}
        return self._agree([target for target in turned if target in self._checks], now_s, own_changed=bool(turned))

    def _fails_almost_everywhere(self) -> bool:
        """Whether it is time to ask who is cut off: all are looked at then, which is too much for each result."""
        return self._failing >= CUT_OFF_SHARE * len(self.own)

    def _agree(self, targets: Iterable[Target], now_s: float, *, own_changed: bool) -> list[Change]:
        if self._others and own_changed:
            blind = cut_off((self._vantage(), *self._others))
            if blind != self._blind:
                self._blind, targets = blind, self._probed()
        return self._judge(self._unproven.union(targets), now_s)

    def _judge(self, targets: Iterable[Target], now_s: float) -> list[Change]:
        """Work out what these targets are by all, and what composed checks follow from them."""
        changes: list[Change] = []
        targets = list(targets)
        self._unproven.difference_update(targets)
        for target, after in judge(targets, self._checks, self._vantage(), self._others, self._blind, self.agreed):
            self._set(target, after, changes)
            if any(vote.why == UNPROVEN for vote in after.votes):
                self._unproven.add(target)
        if self._composed:
            for target, after in compose(self._composed, self.agreed, self.agreed, now_s):
                self._set(target, after, changes)
        return changes

    def _set(self, target: Target, after: Judgement, changes: list[Change]) -> None:
        before = self.agreed.get(target) or Judgement()
        self.agreed[target] = after
        if before.health is not after.health:
            changes.append(Change(target=target, vantage="", before=before, after=after))

    def _vantage(self) -> Vantage:
        return Vantage(name=self._node, opinions=self.own)

    def _probed(self) -> list[Target]:
        return [target for target, check in self._checks.items() if not isinstance(check.probe, Composed)]


def _opinions(vantage: Vantage | None) -> Mapping[Target, Judgement]:
    return {} if vantage is None else vantage.opinions


def _differing(before: Mapping[Target, Judgement], after: Mapping[Target, Judgement]) -> set[Target]:
    """The targets of which two sets of opinions differ."""
    if before is after:
        return set()
    return {target for target in before.keys() | after.keys() if before.get(target) != after.get(target)}
