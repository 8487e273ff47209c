"""What ExaBGP writes: recorded forms of 5.0.15 and 4.2.25, and whatever else may come."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.route import Attributes, Communities, Community, LargeCommunity
from gtm.wire.exabgp.reply import (
    LINE_MAX_BYTES,
    Done,
    Error,
    Lines,
    Neighbours,
    NeighbourState,
    Other,
    RibRoute,
    Shutdown,
    parse,
)

PEER = ip_address("192.0.2.65")
SETTINGS = "local-ip 192.0.2.9 local-as 65010 peer-as 65000 router-id 192.0.2.9 family-allowed in-open"


def state(word: str, **more: str) -> str:
    neighbour = {"address": {"local": "192.0.2.9", "peer": str(PEER)}, "asn": {"local": 65010}, "state": word, **more}
    return json.dumps({"exabgp": "5.0.0", "time": 1.5, "counter": 1, "type": "state", "neighbor": neighbour})


def test_acknowledgements() -> None:
    assert [parse(word) for word in ("done", "error", "shutdown")] == [Done(), Error(), Shutdown()]
    assert parse('{"exabgp": "5.0.0", "type": "notification", "notification": "shutdown"}') == Shutdown()


def test_events_of_neighbours() -> None:
    assert parse(state("up")) == NeighbourState(neighbour=PEER, up=True)
    assert parse(state("connected")) == NeighbourState(neighbour=PEER, up=False)
    assert parse(state("down", reason="stop")) == NeighbourState(neighbour=PEER, up=False, reason="stop")


def test_all_neighbours() -> None:
    said = [
        {"state": "up", "fsm": "ESTABLISHED", "peer": {"address": str(PEER)}},
        {"state": "down", "fsm": "ACTIVE", "peer": {"address": "2001:db8::9"}},
    ]
    assert parse(json.dumps(said)) == Neighbours(
        states=(
            NeighbourState(neighbour=PEER, up=True),
            NeighbourState(neighbour=ip_address("2001:db8::9"), up=False, reason="ACTIVE"),
        )
    )


@pytest.mark.parametrize("path", ["( 65010 65010 )", "[ 65010 65010 ]"])
def test_a_route_of_the_rib_as_either_version_writes_it(path: str) -> None:
    line = (
        f"neighbor {PEER} {SETTINGS} ipv4 unicast 203.0.113.0/24 path-information 0.0.1.1 next-hop 192.0.2.1 "
        f"as-path {path} med 50 local-preference 200 community [ 65010:100 65535:0 ] "
        "extended-community [ target:65010:7 0x4004FDF24A371B00 ] large-community 65010:1:2"
    )
    assert parse(line) == RibRoute(
        neighbour=PEER,
        prefix=ip_network("203.0.113.0/24"),
        path_id=257,
        attributes=Attributes(
            next_hop=ip_address("192.0.2.1"),
            med=50,
            local_pref=200,
            as_path=(65010, 65010),
            communities=Communities(
                standard=(Community(65010, 100), Community(65535, 0)), large=(LargeCommunity(65010, 1, 2),)
            ),
        ),
    )


def test_a_bare_route_of_the_rib() -> None:
    line = f"neighbor {PEER} {SETTINGS} ipv6 unicast 2001:db8:61::/48 next-hop 2001:db8::1"
    found = parse(line)
    assert isinstance(found, RibRoute)
    assert (found.path_id, found.attributes) == (None, Attributes(next_hop=ip_address("2001:db8::1")))


WORDS = st.sampled_from(
    [
        "neighbor",
        "ipv4",
        "unicast",
        "203.0.113.0/24",
        "next-hop",
        "med",
        "[",
        "]",
        "(",
        "x",
        "-1",
        "{",
        '"type"',
        "9" * 40,
    ]
)


@given(
    st.one_of(
        st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map(lambda words: "neighbor " + " ".join(words))
    )
)
def test_any_line_comes_to_a_value(line: str) -> None:
    assert parse(line) is not None


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["type", "neighbor", "address", "peer", "state", "fsm", "notification"]), inner)))  # fmt: skip
def test_any_json_comes_to_a_value(said: object) -> None:
    assert parse(json.dumps(said)) is not None
    assert parse(json.dumps([said])) is not None


def test_json_that_nests_without_end() -> None:
    assert isinstance(parse("[" * 100_000), Other)


@given(st.binary(), st.lists(st.integers(0, 50)))
def test_lines_are_the_same_however_they_come(data: bytes, cuts: list[int]) -> None:
    lines, found, rest = Lines(), [], data
    for cut in cuts:
        found += lines.feed(rest[:cut])
        rest = rest[cut:]
    found += lines.feed(rest)
    assert found == [line.decode("utf-8", "replace").strip() for line in data.split(b"\n")[:-1]]


def test_a_line_without_end_takes_no_memory_and_the_next_is_read() -> None:
    lines = Lines()
    for _ in range(5):
        assert lines.feed(b"x" * (LINE_MAX_BYTES // 2)) == []
    assert lines.feed(b"x\ndone\n") == ["done"]
    assert lines.dropped == 1
