"""Every question that BIND, NSD, Knot and PowerDNS agreed on is answered as they do."""

from __future__ import annotations

import marshal
from pathlib import Path

import pytest

from gtm.answer.authority import Authority
from gtm.answer.full import respond_full
from tests.authority.cases import Case, load, read
from tests.authority.tables import table_of, zones_in

HERE = Path(__file__).parent
SETS = sorted(path.stem for path in HERE.glob("*.corpus"))
SHOWN_MAX = 10


def test_there_is_a_corpus() -> None:
    assert SETS == ["hard", "random", "rooted", "signed"]


@pytest.mark.parametrize("name", SETS)
def test_agreed_cases(name: str) -> None:
    table = table_of(zones_in(HERE / "zones" / name))
    cases = list(load(HERE / f"{name}.corpus"))
    assert len(cases) > 500
    wrong = []
    for case in cases:
        query = case.ask.wire()
        reply = respond_full(table, query, b"\x7f\0\0\1", 0, tcp=case.ask.tcp)
        assert reply is not None
        assert reply[: len(query)][12 : query.index(0, 12) + 5] == query[12 : query.index(0, 12) + 5]
        if differences := case.differences(read(reply)):
            wrong.append(_report(case, differences))
    shown = "\n\n".join(wrong[:SHOWN_MAX])
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ:\n\n{shown}"


def _report(case: Case, differences: list[str]) -> str:
    return "\n".join([f"? {case.ask}", case.render(), *(f"    {line}" for line in differences)])


def test_answers_survive_marshal() -> None:
    before = Authority.build(zones_in(HERE / "zones" / "signed"), {b"\3www\4nsec\4test\0": {1: 0}})
    after = Authority.load(marshal.loads(marshal.dumps(before.dump())))
    for case in load(HERE / "signed.corpus"):
        question = case.ask.wire()
        end = question.index(0, 12) + 1
        qname, qtype = question[12:end], int.from_bytes(question[end : end + 2], "big")
        got = [authority.lookup(qname, qtype, lambda _: b"", dnssec=True) for authority in (before, after)]
        assert got[0] == got[1]
        assert before.memoable(qname.lower(), qtype) == after.memoable(qname.lower(), qtype)


def test_a_difference_is_seen() -> None:
    """The comparison itself: a reply of another case is reported in every respect in which it is another."""
    cases = list(load(HERE / "hard.corpus"))
    positive = next(case for case in cases if case.reply.answer and not case.reply.tc)
    missing = next(case for case in cases if case.reply.rcode == "NXDOMAIN" and case.reply.authority)
    found = "\n".join(missing.differences(positive.reply))
    assert "rcode: NOERROR, agreed NXDOMAIN" in found
    assert "authority lacks" in found
    assert "answer has more" in found
    assert not positive.differences(positive.reply)
