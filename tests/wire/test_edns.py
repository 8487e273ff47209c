"""EDNS and its options: round trips, and every malformed client subnet."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.wire import ecs, edns, record
from gtm.wire.ecs import Subnet
from gtm.wire.edns import Edns
from gtm.wire.error import WireError
from gtm.wire.record import Record


@st.composite
def subnets(draw: st.DrawFn) -> Subnet:
    family, size = draw(st.sampled_from([(0, 0), (1, 4), (2, 16)]))
    source = draw(st.integers(0, size * 8))
    bits = draw(st.integers(0, (1 << size * 8) - 1)) >> (size * 8 - source) << (size * 8 - source)
    return Subnet(family=family, source=source, address=bits.to_bytes(size, "big"))


@given(subnets())
def test_subnet_round_trip(subnet: Subnet) -> None:
    assert ecs.parse(ecs.render(subnet, 0)) == subnet


@given(subnets(), st.integers(1, 128))
def test_scope_is_written_and_refused_in_queries(subnet: Subnet, scope: int) -> None:
    data = ecs.render(subnet, scope)
    assert data[3] == scope
    with pytest.raises(WireError):
        ecs.parse(data)


@given(st.binary(max_size=24))
def test_what_parses_renders_the_same(data: bytes) -> None:
    try:
        subnet = ecs.parse(data)
    except WireError:
        return
    assert ecs.render(subnet, 0) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1\x18",
        b"\0\1\x18\0\1\2",
        b"\0\1\x18\0\1\2\3\0",
        b"\0\1\x17\0\1\2\3",
        b"\0\1\x21\0\1\2\3\4\0",
        b"\0\2\x81\0" + bytes(17),
        b"\0\3\x18\0\1\2\3",
        b"\0\0\x01\0\0",
        b"\0\1\0\0\0",
        b"\1\1\x18\0\1\2\3",
    ],
)
def test_malformed_subnets(data: bytes) -> None:
    with pytest.raises(WireError):
        ecs.parse(data)


options = st.lists(
    st.tuples(st.integers(0, 65535).filter(lambda code: code not in {3, 8}), st.binary(max_size=10)), max_size=4
)


def as_record(wire: bytes) -> Record:
    parsed, end = record.parse_record(wire, 0)
    assert end == len(wire)
    return parsed


@given(options, st.booleans(), st.integers(0, 4095))
def test_opt_round_trip(sent: list[tuple[int, bytes]], dnssec_ok: bool, rcode: int) -> None:
    opt = as_record(edns.render(rcode=rcode, dnssec_ok=dnssec_ok, options=tuple(sent)))
    assert edns.options(opt.rdata) == sent
    assert opt.ttl >> 24 == rcode >> 4
    assert edns.parse(opt) == Edns(payload_bytes=edns.PAYLOAD_MAX_BYTES, dnssec_ok=dnssec_ok)


@given(subnets(), options, options)
def test_known_options_are_found_among_others(
    subnet: Subnet, before: list[tuple[int, bytes]], after: list[tuple[int, bytes]]
) -> None:
    sent = (*before, (3, b""), *after, (8, ecs.render(subnet, 0)))
    parsed = edns.parse(as_record(edns.render(options=sent)))
    assert parsed.nsid
    assert parsed.subnet == subnet


def opt_record(*, owner: bytes = b"\0", size: int = 1232, ttl: int = 0, rdata: bytes = b"") -> Record:
    return Record(owner=owner, rtype=41, rclass=size, ttl=ttl, rdata=rdata, offset=0)


@pytest.mark.parametrize(
    "bad",
    [
        opt_record(owner=b"\1a\0"),
        opt_record(rdata=b"\0"),
        opt_record(rdata=b"\0\3\0"),
        opt_record(rdata=b"\0\3\0\1"),
        opt_record(rdata=pack("!HH", 8, 4) + b"\0\1\0\0" + pack("!HH", 8, 4) + b"\0\1\0\0"),
    ],
)
def test_malformed_opt(bad: Record) -> None:
    with pytest.raises(WireError):
        edns.parse(bad)


def test_other_versions_are_not_looked_into() -> None:
    assert edns.parse(opt_record(ttl=1 << 16, rdata=b"\0")).version == 1


@pytest.mark.parametrize(("size", "payload"), [(0, 512), (511, 512), (512, 512), (1232, 1232), (65535, 65535)])
def test_payload_is_at_least_512(size: int, payload: int) -> None:
    assert edns.parse(opt_record(size=size)).payload_bytes == payload
