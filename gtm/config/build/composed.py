"""What a check is composed of -> its term; and what the terms of all checks must be together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gtm.config.document import Document, Steps
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.checks import MEMBER_FORMS, ChecksFile, Composable, TermShape
from gtm.model.check import AtLeast, Check, Composed, Member, Not, Term

DEPTH_MAX = 8
SHOWN_MAX = 12


def build_term(shape: Composable) -> Term:
    """The term of a shape that has exactly one of all, any, not and at_least, or is a member."""
    if shape.all_ is not None:
        return AtLeast(count=len(shape.all_), of=tuple(map(build_term, shape.all_)))
    if shape.any_ is not None:
        return AtLeast(count=1, of=tuple(map(build_term, shape.any_)))
    if shape.not_ is not None:
        return Not(of=build_term(shape.not_))
    if shape.at_least is not None:
        return AtLeast(count=shape.at_least.count, of=tuple(map(build_term, shape.at_least.of)))
    if isinstance(shape, TermShape) and shape.check is not None:
        return Member(check=shape.check, address=shape.address)
    return Member(check="")  # nothing is composed of nothing: `check_terms` says so


def check_terms(document: Document, file: ChecksFile, checks: Mapping[str, Check]) -> None:
    """Faults of composed checks: members that are unknown or listed twice, wrong counts, cycles, too much depth."""
    for name, shape in file.checks.items():
        if name in checks and isinstance(checks[name].probe, Composed):
            for place, below in _lists(("checks", name), shape):
                _check_members(document, place, below)
            if shape.at_least is not None:
                _check_count(document, ("checks", name), shape)
    _check_cycles(document, checks)


def _lists(place: Steps, shape: Composable) -> Iterator[tuple[Steps, tuple[TermShape, ...]]]:
    """Where members are listed, and which, outermost first; `not` lists one."""
    found: list[tuple[Steps, tuple[TermShape, ...]]] = []
    if shape.all_ is not None:
        found.append(((*place, "all"), shape.all_))
    if shape.any_ is not None:
        found.append(((*place, "any"), shape.any_))
    if shape.at_least is not None:
        found.append(((*place, "at_least", "of"), shape.at_least.of))
    for where, terms in found:
        yield where, terms
        for position, term in enumerate(terms):
            yield from _lists((*where, position), term)
    if shape.not_ is not None:
        yield (*place, "not"), (shape.not_,)
        yield from _lists((*place, "not"), shape.not_)


def _check_members(document: Document, place: Steps, terms: tuple[TermShape, ...]) -> None:
    known = document.known("checks")
    seen: set[Term] = set()
    for position, term in enumerate(terms):
        where = place if place[-1] == "not" else (*place, position)
        given = [
            key
            for key, value in (
                ("check", term.check), ("all", term.all_), ("any", term.any_), ("not", term.not_),
                ("at_least", term.at_least),
            )
            if value is not None
        ]  # fmt: skip
        if not given and not document.intact(*where):
            continue  # what it was meant to be is wrong, and that is said already
        if len(given) != 1:
            document.fault(where, f"has {' and '.join(given) or 'no check'}", MEMBER_FORMS)
            continue
        if term.address is not None and term.check is None:
            document.fault((*where, "address"), "goes with check only", "check: NAME beside it")
        if term.check is not None and term.check not in known:
            hint = did_you_mean(term.check, known)
            document.fault(where, f"there is no check {term.check}{hint}", listed(known))
        if term.at_least is not None:
            _check_count(document, where, term)
        made = build_term(term)
        if made in seen:
            document.fault(where, "is listed twice", "each once")
        seen.add(made)


def _check_count(document: Document, place: Steps, shape: Composable) -> None:
    least = shape.at_least
    if least is not None and least.count > len(least.of) and document.intact(*place, "at_least", "of"):
        words = f"{least.count} of {len(least.of)} can never be"
        document.fault((*place, "at_least", "count"), words, f"1 to {len(least.of)}")


def _check_cycles(document: Document, checks: Mapping[str, Check]) -> None:
    """No check looks at itself, by however many others; nor through more than DEPTH_MAX of them."""
    graph = {name: _composed_members(check, checks) for name, check in checks.items() if _is_composed(check)}
    depths: dict[str, int] = {}
    for start, first in graph.items():
        path = {} if start in depths else {start: iter(first)}
        while path:
            name = next(reversed(path))
            below = next(path[name], None)
            if below is None:
                del path[name]
                depths[name] = 1 + max((depths.get(each, 0) for each in graph[name]), default=0)
                if depths[name] == DEPTH_MAX + 1:  # said once, where it becomes too much
                    words = "looks at checks that look at others, too deep"
                    document.fault(("checks", name), words, f"up to {DEPTH_MAX} composed checks in a row")
            elif below in path:
                cycle = [*list(path)[list(path).index(below) :], below]
                words = f"is composed of itself: {_arrows(cycle)}"
                document.fault(("checks", below), words, "checks that do not look at each other in a circle")
            elif below not in depths:
                path[below] = iter(graph[below])


def _is_composed(check: Check | None) -> bool:
    return check is not None and isinstance(check.probe, Composed)


def _composed_members(check: Check, checks: Mapping[str, Check]) -> tuple[str, ...]:
    """The members that are composed themselves, each once."""
    members = check.probe.members() if isinstance(check.probe, Composed) else ()
    return tuple(dict.fromkeys(member.check for member in members if _is_composed(checks.get(member.check))))


def _arrows(cycle: list[str]) -> str:
    shown = cycle if len(cycle) <= SHOWN_MAX else [*cycle[: SHOWN_MAX - 2], "...", cycle[-1]]
    return " -> ".join(shown)
