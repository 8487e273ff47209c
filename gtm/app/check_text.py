"""The report of a check as text: what `gtm check` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.check import Counts, FailedTest, Fault, Report
from gtm.app.explain_text import explain_text


def check_text(report: Report) -> str:
    """Several lines, the verdict last, without a newline at the end."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from (fault_text(fault) for fault in report.errors)
    yield from (f"warning: {warning}" for warning in report.warnings)
    for test in report.tests_failed:
        yield from _test(test)
    if report.counts is not None:
        yield counts_text(report.counts)
    yield _verdict(report)


def fault_text(fault: Fault) -> str:
    """One fault as `file:line: key: message (allowed: ...)`."""
    where = fault.file if fault.line is None else f"{fault.file}:{fault.line}"
    key = f" {fault.key}:" if fault.key else ""
    allowed = f" (allowed: {fault.allowed})" if fault.allowed else ""
    return f"{where}:{key} {fault.message}{allowed}"


def _test(test: FailedTest) -> Iterator[str]:
    down = f" with {', '.join(test.down)} down" if test.down else ""
    yield f"{test.file}:{test.line}: expect: {test.ask} from {test.client}{down}: wanted {test.wanted}, got {test.got}"
    if test.explanation is not None:
        yield from (f"    {line}".rstrip() for line in explain_text(test.explanation).splitlines())


def counts_text(counts: Counts) -> str:
    """How much there is, in one line."""
    announced = ((counts.speakers, "speaker"), (counts.services, "announced service")) if counts.services else ()
    balanced = ((counts.balanced, "balanced service"), (counts.backends, "backend")) if counts.balanced else ()
    parts = (
        (counts.zones, "zone"),
        (counts.names, "steered name"),
        (counts.pools, "pool"),
        (counts.regions, "region"),
        (counts.targets, "target"),
        (counts.classes, "class of clients", "classes of clients"),
        *announced,
        *balanced,
    )
    return ", ".join(
        f"{number} {words[0] if number == 1 else words[-1] + 's' * (len(words) == 1)}" for number, *words in parts
    )


def _verdict(report: Report) -> str:
    tests = report.tests_passed + len(report.tests_failed)
    if report.errors:
        return f"{report.folder}: {_number(len(report.errors), 'error')}; tests were not run"
    passed = f"{report.tests_passed} of {_number(tests, 'test')} passed" if tests else "no tests"
    warned = f", {_number(len(report.warnings), 'warning')}" if report.warnings else ""
    return f"{report.folder}: {'ok' if report.ok else 'not ok'}, {passed}{warned}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
