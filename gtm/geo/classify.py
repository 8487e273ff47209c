"""From places and the networks that rules name to classes and ECS scopes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gtm.geo.nest import nest, unusable
from gtm.geo.space import PlaceSpace
from gtm.geo.steps import Blocks, Steps, blocks, first_seen, levelled, paired
from gtm.model.address import IPNetwork
from gtm.model.classes import PAGE, ClassTable
from gtm.model.errors import ConfigError
from gtm.model.place import Locus, Place

LEAVES_MAX = PAGE
PAGES_MAX = 0x8000 - 1
CLASSES_MAX = 0x10000

RttsOf = Callable[[Place, IPNetwork | None], tuple[tuple[str, float], ...]]

_Words = npt.NDArray[np.uint16]


class TooManyError(ConfigError):
    """More classes, or parts of the space, than the table has room for."""


def classify(
    space: PlaceSpace,
    rule_networks: Iterable[IPNetwork],
    class_of: Callable[[Locus], Hashable],
    key: str,
    *,
    cuts: Iterable[IPNetwork] = (),
    measured: Iterable[IPNetwork] = (),
    rtts_of: RttsOf | None = None,
) -> ClassTable:
    """The class table of a space: addresses whose loci `class_of` maps to equal values are one class.

    `rule_networks` are the networks that policies name; they cut the space, and a Locus has those around it. So do
    `cuts`, which may be networks that no policy may name. With `rtts_of` a Locus has the times that it gives for the
    place and the innermost of the `measured` networks around it, which cut the space too but are in no Locus; those
    that cannot be told apart are left out. Classes are numbered as they are first met, IPv4 before
    IPv6, from address 0 upwards. The tables are numpy arrays: pass them through the table file for a copy that reads
    without numpy.

    IPv4 splits below a /24 have pages of their own. Where there are more of them than fit, those that come from the
    databases alone are levelled: the class that most addresses of the /24 have is given to all of it.
    Raises ConfigError for a rule network that cannot be told apart, and TooManyError where a limit is passed.
    """
    rules = list(dict.fromkeys(rule_networks))
    for network in rules:
        if (why := unusable(network)) is not None:
            raise ConfigError(why, file="policy rules", key=str(network))
    rules = list(dict.fromkeys((*rules, *cuts)))
    known = set(rules)
    probed = [network for network in dict.fromkeys(measured) if unusable(network) is None]
    inner = _Inner(rules, [network for network in probed if network not in known], frozenset(probed), rtts_of)
    classes = _Classes(class_of)
    classed = [_classed(space, inner, version, classes) for version in (4, 6)]
    four, six = (blocks(steps) for steps in classed)
    if _split(four) > PAGES_MAX:
        four = blocks(_levelled4(four, inner.all, space))
    leaves: dict[tuple[int, int], int] = {}
    words4, words6 = _leaves(four, leaves), _leaves(six, leaves)
    _limit(len(classes.loci), CLASSES_MAX, "classes of client networks")
    _limit(len(leaves), LEAVES_MAX, "pairs of class and ECS scope")
    _limit(_split(four), PAGES_MAX, "/24 networks split by rules and overrides longer than /24")
    leaves24, pages = _table4(four, words4)
    return ClassTable(
        key=key,
        leaves24=_readable(leaves24, "H"),
        pages=_readable(pages, "H"),
        leaves=tuple(leaves),
        starts6=_readable(six.starts, "Q"),
        leaves6=_readable(words6, "H"),
        loci=tuple(classes.loci),
    )


def _limit(count: int, most: int, what: str) -> None:
    if count > most:
        raise TooManyError(f"{count} {what}", file="policy rules", allowed=f"at most {most}")


@dataclass(frozen=True, slots=True)
class _Inner:
    """The networks that cut the space: those that a Locus has, and further ones that only have measured times."""

    rules: Sequence[IPNetwork]
    further: Sequence[IPNetwork]
    measured: frozenset[IPNetwork]
    rtts_of: RttsOf | None

    @property
    def all(self) -> Sequence[IPNetwork]:
        return (*self.rules, *self.further)

    def locus(self, place: Place, around: Sequence[int]) -> Locus:
        """The locus of a place inside the networks `around` it, numbered as in `all`, the innermost first."""
        networks = frozenset(self.rules[i] for i in around if i < len(self.rules))
        if self.rtts_of is None:
            return Locus(place=place, networks=networks)
        count = len(self.rules)
        each = (self.rules[i] if i < count else self.further[i - count] for i in around)
        innermost = next((network for network in each if network in self.measured), None)
        return Locus(place=place, networks=networks, rtts=self.rtts_of(place, innermost))


class _Classes:
    """Class numbers by what `class_of` says, and one member of each class."""

    def __init__(self, class_of: Callable[[Locus], Hashable]) -> None:
        self._class_of = class_of
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[Locus, int] = {}
        self.loci: list[Locus] = []

    def number(self, locus: Locus) -> int:
        """The locus's class; a new one if it is the first of its kind."""
        known = self._known.get(locus)
        if known is None:
            known = self._numbers.setdefault(self._class_of(locus), len(self._numbers))
            if known == len(self.loci):
                self.loci.append(locus)
            self._known[locus] = known
        return known


def _classed(space: PlaceSpace, inner: _Inner, version: int, classes: _Classes) -> Steps:
    """The class of every address of one family."""
    within = nest(inner.all, version)
    both, pairs = paired(space.four if version == 4 else space.six, within.steps)
    around = {number: tuple(within.around(number)) for number in {n for _, n in pairs}}
    numbers = [classes.number(inner.locus(space.sites[a].place, around[b])) for a, b in pairs]
    return both.mapped(np.array(numbers, np.int64)[both.values])


def _split(four: Blocks) -> int:
    """How many /24s hold more than one block."""
    nets = four.starts[four.lengths > 24] >> np.uint64(8)
    return int(np.count_nonzero(nets[1:] != nets[:-1])) + min(len(nets), 1)


def _levelled4(four: Blocks, rules: Sequence[IPNetwork], space: PlaceSpace) -> Steps:
    """The classes with every /24 levelled but those that rules or overrides longer than /24 lie in."""
    fine = [n for n in (*rules, *space.fine) if n.version == 4 and n.prefixlen > 24]
    kept = np.unique(np.array([int(n.network_address) >> 8 for n in fine], np.uint64))
    split = (four.lengths > 24) & np.isin(four.starts >> np.uint64(8), kept)
    # What is kept takes part as though it were no split at all.
    shown = np.where(split, 24, four.lengths)
    return levelled(Blocks(width=32, starts=four.starts, lengths=shown, values=four.values), 24)


def _leaves(cut: Blocks, leaves: dict[tuple[int, int], int]) -> _Words:
    """The leaf number of each block, numbering the new (class, scope) pairs in `leaves` as they are first met."""
    codes = cut.values * 256 + cut.lengths
    found, inverse = first_seen(codes)
    numbers = np.array([leaves.setdefault((code // 256, code % 256), len(leaves)) for code in found], np.int64)
    return np.minimum(numbers, 0xFFFF).astype(np.uint16)[inverse]


def _table4(four: Blocks, words: _Words) -> tuple[_Words, _Words]:
    """The 2**24 words by /24, and the pages: 256 words for each split one."""
    long = four.lengths > 24
    pages = np.repeat(words[long], 1 << (32 - four.lengths[long]))
    nets = (four.starts >> np.uint64(8)).astype(np.int64)
    keep = ~long
    keep[1:] |= long[1:] & (nets[1:] != nets[:-1])
    keep[:1] = True
    word = words.astype(np.int64)
    word[keep & long] = PAGE + np.arange(int((keep & long).sum()))
    counts = 1 << np.maximum(24 - four.lengths[keep], 0)
    return np.repeat(word[keep].astype(np.uint16), counts), pages


def _readable(array: npt.NDArray[np.uint16] | npt.NDArray[np.uint64], code: str) -> memoryview:
    view = np.ascontiguousarray(array).view(np.uint8).data
    return view.cast("Q") if code == "Q" else view.cast("H")
