"""A steered name's `steer:` -> its policy."""

from __future__ import annotations

from gtm.config.build.context import Context
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.shape.steering import RuleShape
from gtm.model.address import IPNetwork
from gtm.model.policy import Country, Matcher, Network, Order, Policy, Rule, Subdivision, matcher_text
from gtm.model.pool import Pool

NEAREST = "nearest"
RTT = "rtt"
REST = (NEAREST, RTT)  # what stands for every other region


def build_policy(
    document: Document, place: Steps, shapes: tuple[RuleShape, ...], pool: Pool | None, context: Context
) -> Policy:
    """The policy of a name; `place` is its `steer`. `pool` is its pool, where that is sound."""
    _check_reach(document, place, shapes)
    for position, shape in enumerate(shapes):
        _check_order(document, (*place, position), shape.order, pool, context)
    return Policy(
        rules=tuple(
            Rule(
                matchers=shape.from_,
                order=Order(
                    regions=tuple(name for name in shape.order if name not in REST),
                    nearest=shape.order[-1] in REST,
                    rtt=shape.order[-1] == RTT,
                ),
            )
            for shape in shapes
        )
    )


def _check_order(document: Document, place: Steps, order: tuple[str, ...], pool: Pool | None, context: Context) -> None:
    """The regions exist, each once, `nearest` or `rtt` last, and the pool is in at least one of them."""
    for position, name in enumerate(order):
        step = (*place, "order", position)
        if name in REST:
            if position != len(order) - 1:
                document.fault(step, f"{name} means every other region, so nothing can follow it", f"{name} at the end")
            if name == RTT and not context.rtt:
                document.fault(
                    step, "nothing says where round-trip times come from", "a file probes/rtt.yaml, or nearest"
                )
        elif name in order[:position]:
            document.fault(step, f"{name} is listed twice", "each region once")
        elif name not in context.regions:
            unknown_region(document, step, name, (*context.regions, *REST))
    if (
        pool is None
        or not pool.instances
        or not set(REST).isdisjoint(order)
        or not all(name in context.regions for name in order)
    ):
        return
    if not any(instance.region in order for instance in pool.instances):
        document.fault((*place, "order"), f"pool {pool.name} has no instances in any of these", "one of its regions")


def _check_reach(document: Document, place: Steps, shapes: tuple[RuleShape, ...]) -> None:
    """No rule, and no entry of one, comes after a rule that takes all its clients."""
    catch_all: int | None = None
    seen = _Seen()
    for position, shape in enumerate(shapes):
        if catch_all is not None:
            line = document.line((*place, catch_all))
            message = f"is never reached: the rule on line {line} is for everyone"
            document.fault((*place, position), message, "a place before it")
            continue
        if document.written(*place, position) == ("order",):
            catch_all = position
        for index, matcher in enumerate(shape.from_):
            found = seen.add(matcher, position)
            if found is not None:
                earlier, rule = found
                line = document.line((*place, rule))
                by = "this rule" if rule == position else f"the rule on line {line}"
                message = f"is never reached: {by} has {matcher_text(earlier)} before it"
                document.fault((*place, position, "from", index), message, "the narrower first, and each once")


class _Seen:
    """The matchers met so far, and the position of each one's rule."""

    def __init__(self) -> None:
        self._rules: dict[Matcher | tuple[int, int, int], int] = {}
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}

    def add(self, matcher: Matcher, rule: int) -> tuple[Matcher, int] | None:
        """The matcher that takes all clients of this one already, and its rule; else None, and this one is added."""
        match matcher:
            case Network(network=network):
                return self._add_network(network, rule)
            case Subdivision(code=code) if (country := Country(code=code[:2])) in self._rules:
                return country, self._rules[country]
        if matcher in self._rules:
            return matcher, self._rules[matcher]
        self._rules[matcher] = rule
        return None

    def _add_network(self, network: IPNetwork, rule: int) -> tuple[Matcher, int] | None:
        version, first, bits = network.version, int(network.network_address), network.max_prefixlen
        for length in self._lengths[version]:
            key = (version, length, first >> (bits - length))
            if length <= network.prefixlen and key in self._rules:
                return Network(network=network.supernet(new_prefix=length)), self._rules[key]
        self._lengths[version].add(network.prefixlen)
        self._rules[version, network.prefixlen, first >> (bits - network.prefixlen)] = rule
        return None
