"""The corpus as text: a question, and what the servers agreed on, readable by anyone who reads dig's output.

? www.example. A +do +tcp          questions that have this reply; options: +do +edns=BYTES +tcp +rd
= NOERROR aa                       rcode and flags (aa tc)
+ www.example. 300 A 192.0.2.1     answer section, as a set
! example. 300 NS ns1.example.     authority: all agreeing servers have it      (!? some have it)
& ns1.example. 300 A 192.0.2.2     additional: all agreeing servers have it     (&? some have it)
# knot                             who disagreed
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question: name and type in presentation form; `edns_bytes` None is without EDNS."""

    qname: str
    qtype: str
    do: bool = False
    edns_bytes: int | None = None
    tcp: bool = False
    rd: bool = False

    def __str__(self) -> str:
        options = [
            word
            for word, on in (
                ("+do", self.do),
                (f"+edns={self.edns_bytes}", self.edns_bytes is not None),
                ("+tcp", self.tcp),
                ("+rd", self.rd),
            )
            if on
        ]
        return " ".join([self.qname, self.qtype, *options])

    @classmethod
    def parse(cls, text: str) -> Ask:
        qname, qtype, *options = text.split()
        edns = next((int(word.split("=")[1]) for word in options if word.startswith("+edns=")), None)
        return cls(
            qname=qname,
            qtype=qtype,
            do="+do" in options,
            edns_bytes=edns,
            tcp="+tcp" in options,
            rd="+rd" in options,
        )

    def wire(self, ident: int = 4660) -> bytes:
        query = dns.message.make_query(
            dns.name.from_text(self.qname),
            dns.rdatatype.from_text(self.qtype),
            use_edns=False if self.edns_bytes is None else 0,
            payload=self.edns_bytes or 0,
            want_dnssec=self.do,
            flags=dns.flags.RD if self.rd else 0,
            id=ident,
        )
        return query.to_wire()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response in comparable form: records as text with owners and names in lower case."""

    rcode: str
    aa: bool
    tc: bool
    answer: frozenset[str]
    authority: frozenset[str]
    additional: frozenset[str]

    @property
    def core(self) -> tuple[object, ...]:
        """What servers must agree on. The sections of a truncated response are of no use to anyone."""
        return (self.rcode, self.aa, self.tc, frozenset() if self.tc else self.answer)


def read(wire: bytes) -> Reply:
    """A response's comparable form. Raises dnspython's exceptions if it is malformed."""
    message = dns.message.from_wire(wire, one_rr_per_rrset=True, raise_on_truncation=False)
    return Reply(
        rcode=dns.rcode.to_text(message.rcode()),
        aa=bool(message.flags & dns.flags.AA),
        tc=bool(message.flags & dns.flags.TC),
        answer=_records(message.answer),
        authority=_records(message.authority),
        additional=_records(message.additional),
    )


def _records(section: Iterable[dns.rrset.RRset]) -> frozenset[str]:
    return frozenset(_record(rrset) for rrset in section)


def _record(rrset: dns.rrset.RRset) -> str:
    rdata = rrset[0]
    with contextlib.suppress(ValueError, AttributeError):  # types without names, or whose rdata is kept as bytes
        rdata = rdata.replace(
            **{
                slot: dns.name.Name([label.lower() for label in getattr(rdata, slot).labels])
                for slot in rdata.__slots__
                if isinstance(getattr(rdata, slot), dns.name.Name)
            }
        )
    owner = dns.name.Name([label.lower() for label in rrset.name.labels])
    return f"{owner} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An agreed case; `some_*` are records that not all agreeing servers gave."""

    ask: Ask
    reply: Reply
    some_authority: frozenset[str] = field(default_factory=frozenset)
    some_additional: frozenset[str] = field(default_factory=frozenset)
    dissenters: tuple[str, ...] = ()

    def render(self) -> str:
        """The reply's lines, without the question."""
        flags = "".join(f" {word}" for word, on in (("aa", self.reply.aa), ("tc", self.reply.tc)) if on)
        lines = [f"= {self.reply.rcode}{flags}"]
        if not self.reply.tc:
            for mark, records in (
                ("+", self.reply.answer),
                ("!", self.reply.authority),
                ("!?", self.some_authority),
                ("&", self.reply.additional),
                ("&?", self.some_additional),
            ):
                lines += [f"{mark} {record}" for record in sorted(records)]
        lines += [f"# {name}" for name in self.dissenters]
        return "\n".join(lines)

    def differences(self, got: Reply) -> list[str]:
        """How a reply departs from what was agreed, in words; nothing for a good one."""
        want = self.reply
        found = [
            f"{what}: {was}, agreed {agreed}"
            for what, was, agreed in (
                ("rcode", got.rcode, want.rcode),
                ("aa", got.aa, want.aa),
                ("tc", got.tc, want.tc),
            )
            if was != agreed
        ]
        if want.tc or got.tc:
            return found
        found += _compare("answer", got.answer, want.answer, frozenset())
        found += _compare("authority", got.authority, want.authority, self.some_authority)
        return found + _compare("additional", got.additional, want.additional, self.some_additional)


def _compare(section: str, got: frozenset[str], want: frozenset[str], some: frozenset[str]) -> list[str]:
    missing = [f"{section} lacks {record}" for record in sorted(want - got)]
    return missing + [f"{section} has more: {record}" for record in sorted(got - want - some)]


def render(cases: Iterable[Case]) -> str:
    """A corpus: cases with equal replies are one block, under all of their questions."""
    blocks: dict[str, list[str]] = {}
    for case in cases:
        blocks.setdefault(case.render(), []).append(f"? {case.ask}")
    return "\n\n".join("\n".join([*asked, reply]) for reply, asked in blocks.items()) + "\n"


def load(path: Path) -> Iterator[Case]:
    """Every case of a corpus file."""
    for block in path.read_text().split("\n\n"):
        of: dict[str, list[str]] = {}
        for line in block.splitlines():
            mark, _, rest = line.partition(" ")
            of.setdefault(mark, []).append(rest)
        rcode, *flags = of["="][0].split()
        reply = Reply(
            rcode=rcode,
            aa="aa" in flags,
            tc="tc" in flags,
            answer=frozenset(of.get("+", ())),
            authority=frozenset(of.get("!", ())),
            additional=frozenset(of.get("&", ())),
        )
        for asked in of["?"]:
            yield Case(
                ask=Ask.parse(asked),
                reply=reply,
                some_authority=frozenset(of.get("!?", ())),
                some_additional=frozenset(of.get("&?", ())),
                dissenters=tuple(of.get("#", ())),
            )


def agree(ask: Ask, replies: dict[str, Reply]) -> Case | None:
    """The case, if all servers but at most one agree on its core; None if they do not."""
    by_core: dict[tuple[object, ...], list[str]] = {}
    for name, reply in replies.items():
        by_core.setdefault(reply.core, []).append(name)
    names = max(by_core.values(), key=len, default=[])
    if len(names) < 3:
        return None
    agreeing = [replies[name] for name in names]
    authority = frozenset.intersection(*(reply.authority for reply in agreeing))
    additional = frozenset.intersection(*(reply.additional for reply in agreeing))
    first = agreeing[0]
    return Case(
        ask=ask,
        reply=Reply(
            rcode=first.rcode,
            aa=first.aa,
            tc=first.tc,
            answer=first.answer,
            authority=authority,
            additional=additional,
        ),
        some_authority=frozenset().union(*(reply.authority for reply in agreeing)) - authority,
        some_additional=frozenset().union(*(reply.additional for reply in agreeing)) - additional,
        dissenters=tuple(sorted(set(replies) - set(names))),
    )
