"""`gtm balance explain`: a packet through the real programs on the tables as they stand, and why it went there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from

import numpy as np

from gtm.app.balance import standing
from gtm.app.balance.question import Question, ending, frame, untagged
from gtm.app.folders import state_folder
from gtm.decide.balance import (
    FLOW_BACKEND,
    FLOW_BUCKETS,
    FLOW_CLOSED,
    SLOT_BACKEND,
    SLOT_PREVIOUS_SHIFT,
    SLOT_TRANSITION,
    UDP,
    Kind,
    Packet,
    Verdict,
    Vip,
    Wrap,
    flow_hash,
    parse,
    server_id,
)
from gtm.model.address import unpacked
from gtm.model.balancing import BalancerReport
from gtm.model.errors import PublishError, StoreError
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.servers import find_server
from gtm.publish.dataplane.testrun import Guarded, Ran, Twin
from gtm.publish.dataplane.vips import find
from gtm.web.document import as_object

HERE, CLIENT = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
MEANING: Mapping[Verdict, str] = {
    Verdict.PASS_NO_PROGRAM: "no program is in its slot: everything passes to this machine",
    Verdict.PASS_ETHERTYPE: "is no IP",
    Verdict.PASS_TRUNCATED: "is shorter than its own headers say",
    Verdict.PASS_OPTIONS: "has IPv4 options or IPv6 extension headers: passes to this machine",
    Verdict.PASS_PROTOCOL: "is of a protocol that is not balanced: passes to this machine",
    Verdict.PASS_NO_VIP: "is to no VIP and port: passes to this machine",
    Verdict.PASS_NO_TABLE: "its VIP has no table, or an empty one: passes to this machine",
    Verdict.TX_FORWARD: "goes to a backend",
    Verdict.TX_ICMP_ERROR: "is an ICMP error and goes to the backend whose packet it quotes",
    Verdict.TX_ECHO: "is answered here",
    Verdict.TX_TOO_BIG: "does not fit into what goes to the backend: its sender is told",
    Verdict.DROP_NO_BACKEND: "nobody alive owns its row: dropped",
    Verdict.DROP_TOO_BIG: "does not fit into what goes to the backend, and its sender is not to be told: dropped",
    Verdict.DROP_NO_ROOM: "there is no room before it for the outer header: dropped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRow:
    """The row (slot) of the VIP's table that the flow's hash leads to: who owns it, and who did before a change."""

    row: int
    rows: int
    generation: int
    current: str
    previous: str | None
    in_transition: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFlow:
    """What the flow table says. `consulted`: it is asked for this row at all. `backend`: who has the flow (a hit).

    `learnt` is who would have it from now on, None where nothing new would be remembered.
    """

    consulted: bool
    hit: bool
    backend: str | None
    closed: bool
    learnt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedOuter:
    """How it leaves: what it is wrapped in, from where to where (ports for GUE), to which MAC, and how many octets."""

    wrap: str
    source: str | None
    target: str | None
    next_hop: str | None
    mac: str
    frame_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceExplained:
    """What becomes of a packet. `rule` is the guard's that drops it; `would` those that are dry and match.

    `guarded` says what the guard does, None where there is none. `same_code`: what ran is what is attached, and not
    another release of it.
    """

    packet: str
    frame_bytes: int
    action: str
    verdict: str | None
    meaning: str
    guarded: str | None
    rule: str | None
    would: tuple[str, ...]
    service: str | None
    ring: int | None
    row: ExplainedRow | None
    flow: ExplainedFlow | None
    backend: str | None
    outer: ExplainedOuter | None
    server_id: str | None
    same_code: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What numbers of the kernel's tables mean."""

    backends: Mapping[int, str]
    rings: Mapping[int, str]

    def backend(self, number: int) -> str:
        """SERVICE/NAME of a backend."""
        return self.backends.get(number, f"backend number {number}" if number else "nobody")

    def service(self, number: int) -> str:
        """The service of a ring."""
        return self.rings.get(number, f"ring {number}")


def explain(folder: Path, question: Question, *, pins: Path, objects: Path | None = None) -> BalanceExplained:
    """What becomes of a packet now; traffic, flows and counters take no notice. Raises GtmError."""
    names = names_of(report_of(state_folder(folder)))
    try:
        with Twin(Pins(pins), objects) as twin:
            return explained(question, twin, names)
    except PermissionError as error:
        raise PublishError("not permitted: it needs root", target=str(pins), change="look") from error
    except OSError as error:
        raise PublishError(error.strerror or str(error), target=str(pins), change="look") from error


def explained(question: Question, twin: Twin, names: Names) -> BalanceExplained:
    """The same, by a twin of the programs."""
    asked = frame(question, to=HERE, sender=CLIENT)
    packet = parse(asked)
    seed = int(twin.settings["seed"][0]), int(twin.settings["seed"][1])
    hashed = 0 if isinstance(packet, Verdict) else flow_hash(packet, seed)
    ran = twin.run(asked, bucket=hashed >> layout.FLOW_BUCKET_SHIFT & FLOW_BUCKETS - 1)
    vip = (
        None
        if isinstance(packet, Verdict)
        else find(twin.vips, (packet.target, packet.target_port, packet.protocol), seed)
    )
    row, flow, named = None, None, None
    if vip is not None and ran.verdict is not None and ran.verdict is not Verdict.TX_ECHO:
        held = twin.ring(int(vip["ring"]))
        if held is not None and len(held[1]):
            generation, slots = held
            at = (hashed & 0xFFFFFFFF) * len(slots) >> 32
            slot = int(slots[at])
            row = _row(at, len(slots), generation, slot, names)
            tracks = bool(vip["flags"] & layout.VIP_TRACK)
            named = None if isinstance(packet, Verdict) else _server_id(asked, packet, vip, twin, ran.backend)
            by_hash = named is None and not isinstance(packet, Verdict) and packet.kind is not Kind.FRAGMENT
            flow = _flow(ran, hashed >> 16, names, consulted=by_hash and (row.in_transition or tracks))
    return BalanceExplained(
        packet=str(question),
        frame_bytes=len(asked),
        action=ran.action,
        verdict=None if ran.verdict is None else ran.verdict.name,
        meaning=_meaning(ran),
        guarded=None if ran.guard is None else _outcome(ran.guard),
        rule=ran.guard.outcome.name if ran.guard is not None and ran.verdict is None else None,
        would=() if ran.guard is None else tuple(reason.name for reason in ran.guard.would),
        service=None if vip is None else names.service(int(vip["ring"])),
        ring=None if vip is None else int(vip["ring"]),
        row=row,
        flow=flow,
        backend=names.backend(ran.backend) if ran.backend else None,
        outer=_outer(ran.frame, twin.backends[ran.backend]) if ran.backend else None,
        server_id=named,
        same_code=twin.same_code,
    )


def report_of(state: Path) -> BalancerReport | None:
    """What the manager last said, if it ever did."""
    try:
        return standing.load(state)
    except StoreError:
        return None


def names_of(report: BalancerReport | None) -> Names:
    """The names in a manager's report."""
    services = () if report is None else report.services
    return Names(
        backends={each.number: f"{service.name}/{each.name}" for service in services for each in service.backends},
        rings={service.ring: service.name for service in services},
    )


def explained_document(found: BalanceExplained) -> dict[str, object]:
    """What becomes of a packet, as JSON."""
    return as_object(found)


def explained_text(found: BalanceExplained) -> str:
    """What becomes of a packet, in lines."""
    return "\n".join(_lines(found))


def _lines(found: BalanceExplained) -> Iterator[str]:
    yield f"{found.packet}, a frame of {found.frame_bytes} octets"
    if found.guarded is not None:
        would = f"; dry rules would drop it: {', '.join(found.would)}" if found.would else ""
        yield f"  guard    {found.guarded}{would}"
    if found.service is not None:
        yield f"  service  {found.service} (ring {found.ring})"
    if (row := found.row) is not None:
        change = f", in transition, before {row.previous or 'nobody'}" if row.in_transition else ""
        yield f"  row      {row.row} of {row.rows}, generation {row.generation}: {row.current}{change}"
    if found.server_id is not None:
        yield f"  server   ID {found.server_id} of its QUIC connection names the backend"
    elif (flow := found.flow) is not None:
        yield f"  flow     {_flow_text(flow)}"
    yield f"  verdict  {found.verdict or 'dropped by the guard'} (XDP_{found.action}): {found.meaning}"
    if found.backend is not None:
        yield f"  backend  {found.backend}"
    if (outer := found.outer) is not None:
        ends = "" if outer.source is None else f" {outer.source} -> {outer.target}"
        hop = "" if outer.next_hop is None else f", second chance at {outer.next_hop}"
        yield f"  leaves   {outer.wrap}{ends}{hop}, to {outer.mac}, {outer.frame_bytes} octets"
    if not found.same_code:
        yield "note: what is attached is another build of the programs than the one that was asked here"


def _flow_text(flow: ExplainedFlow) -> str:
    if not flow.consulted:
        return "its row is in no transition, so no flow table is asked"
    known = f"known, of {flow.backend}{', closed' if flow.closed else ''}" if flow.hit else "not known"
    return f"{known}; would be remembered as of {flow.learnt}" if flow.learnt else known


def _meaning(ran: Ran) -> str:
    if ran.verdict is not None:
        return MEANING[ran.verdict]
    return "passed by the guard, with no balancer behind it" if ran.action == "PASS" else "the guard's rule matches"


def _outcome(guarded: Guarded) -> str:
    flood = ", a SYN beyond its VIP's rate" if guarded.flooded else ""
    return f"{guarded.outcome.name}{flood}"


def _server_id(frame: bytes, packet: Packet, entry: np.void, twin: Twin, backend: int) -> str | None:
    """The QUIC-LB server ID that named the backend; None where its row or flow did."""
    lengths = {rotation: int(entry["quic"]) >> 4 * rotation & 15 for rotation in range(8)}
    vip = Vip(ring=int(entry["ring"]), quic=lengths if int(entry["quic"]) else {})
    seed = int(twin.settings["seed"][0]), int(twin.settings["seed"][1])
    found = server_id(frame, packet, vip)
    named = found is not None and backend and find_server(twin.servers["flow"], (vip.ring, *found), seed) == backend
    return found[1].hex() if found is not None and named else None


def _row(at: int, rows: int, generation: int, slot: int, names: Names) -> ExplainedRow:
    previous = slot >> SLOT_PREVIOUS_SHIFT
    return ExplainedRow(
        row=at,
        rows=rows,
        generation=generation,
        current=names.backend(slot & SLOT_BACKEND),
        previous=names.backend(previous) if previous else None,
        in_transition=bool(slot & SLOT_TRANSITION),
    )


def _flow(ran: Ran, tag: int, names: Names, *, consulted: bool) -> ExplainedFlow:
    before = next((word for word in ran.before if word >> 16 == tag), 0)
    after = next((word for word in ran.after if word >> 16 == tag), 0)
    moved = after and after & FLOW_BACKEND != before & FLOW_BACKEND
    return ExplainedFlow(
        consulted=consulted,
        hit=consulted and bool(before),
        backend=names.backend(before & FLOW_BACKEND) if consulted and before else None,
        closed=consulted and bool(before & FLOW_CLOSED),
        learnt=names.backend(after & FLOW_BACKEND) if moved else None,
    )


def _outer(out: bytes, backend: np.void) -> ExplainedOuter:
    wrap, mac, whole_bytes = Wrap(int(backend["wrap"])), out[:6].hex(":"), len(out)
    out = untagged(out)
    if wrap is Wrap.L2:
        return ExplainedOuter(wrap="L2", source=None, target=None, next_hop=None, mac=mac, frame_bytes=whole_bytes)
    four = out[12:14] == b"\x08\x00"
    ends = (out[26:30], out[30:34]) if four else (out[22:38], out[38:54])
    if four:
        ends = (bytes(10) + b"\xff\xff" + ends[0], bytes(10) + b"\xff\xff" + ends[1])
    at, protocol, ports, hop = (34, out[23], (0, 0), None) if four else (54, out[20], (0, 0), None)
    if wrap is Wrap.GUE and protocol == UDP:
        ports = unpack_from("!HH", out, at)
        if out[at + 8] & 0x1F:
            hop = str(unpacked(bytes(10) + b"\xff\xff" + out[at + 16 : at + 20]))
    return ExplainedOuter(
        wrap="IPIP" if wrap is Wrap.IP else wrap.name,
        source=ending(unpacked(ends[0]), ports[0]),
        target=ending(unpacked(ends[1]), ports[1]),
        next_hop=hop,
        mac=mac,
        frame_bytes=whole_bytes,
    )
