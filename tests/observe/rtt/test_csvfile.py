"""CSV files of round-trip times: what is read, what is said of what cannot be, and that nothing is a traceback."""

from __future__ import annotations

import io
from ipaddress import ip_network
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gtm.model.errors import ConfigErrors
from gtm.model.rtt import RttSample
from gtm.observe.rtt.csvfile import LINE_MAX_BYTES, csv_scan
from gtm.observe.rtt.readings import FAULTS_MAX, RTT_MAX_S, checked

REGIONS = ("us-east", "eu-west")
AT_S = 1_700_000_000.0


def read(content: bytes | str, regions: tuple[str, ...] | None = REGIONS) -> list[RttSample]:
    raw = content.encode() if isinstance(content, str) else content
    samples, _ = checked(io.BytesIO(raw), "rtt.csv", csv_scan(AT_S, regions))
    return list(samples)


def faults(content: bytes | str, regions: tuple[str, ...] | None = REGIONS) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        read(content, regions)
    return [str(one) for one in raised.value.errors]


def test_what_is_read() -> None:
    content = """\
# by the measuring job of Monday
prefix,region,rtt

192.0.2.0/24,us-east,12.5
 "198.51.100.7" , eu-west , 180 , 40   # one host
2001:db8::/48,eu-west,1e2
"""
    assert read(content) == [
        RttSample(network=ip_network("192.0.2.0/24"), region="us-east", rtt_s=0.0125, at_s=AT_S),
        RttSample(network=ip_network("198.51.100.7/32"), region="eu-west", rtt_s=0.18, at_s=AT_S, count=40),
        RttSample(network=ip_network("2001:db8::/48"), region="eu-west", rtt_s=0.1, at_s=AT_S),
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "prefix,region,rtt\n", "PREFIX , x\r\n"])
def test_nothing_is_nothing(content: str) -> None:
    assert read(content) == []


def test_line_ends_a_byte_order_mark_and_no_last_line_end_are_of_no_matter() -> None:
    content = b"\xef\xbb\xbfprefix,region,rtt\r\n192.0.2.0/24,us-east,1\r\n192.0.3.0/24,us-east,2"
    assert [sample.rtt_s for sample in read(content)] == [0.001, 0.002]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("192.0.2.0/24,us-east", "rtt.csv:2: '192.0.2.0/24,us-east' has 2 fields (allowed: PREFIX,REGION,MILLISECONDS"),
        ("a,b,c,d,e", "'a,b,c,d,e' has 5 fields"),
        ("192.0.2.0,us-esat,1", "'us-esat' is not a region; did you mean us-east? (allowed: eu-west, us-east)"),
        ("192.0.2.0,,1", "'' is not a region"),
        (
            "192.0.2.1/24,us-east,1",
            "has bits set past /24; did you mean 192.0.2.0/24? (allowed: a network",
        ),
        ("2001:db8::1/48,us-east,1", "did you mean 2001:db8::/48?"),
        ("192.0.2.0/33,us-east,1", "'192.0.2.0/33' is not a network"),
        ("2001:db8::/129,us-east,1", "'2001:db8::/129' is not a network"),
        ("192.0.2.0/٢٤,us-east,1", "is not a network"),
        ("192.0.2.0/,us-east,1", "is not a network"),
        ("192.0.2/24,us-east,1", "is not a network"),
        ("fe80::1%eth0,us-east,1", "is not a network"),
        ("example.com,us-east,1", "'example.com' is not a network"),
        (",us-east,1", "'' is not a network"),
        ("0.0.0.0/0,us-east,1", "is too large a network (allowed: /8 and longer)"),
        ("::/0,us-east,1", "is too large a network (allowed: /16 and longer)"),
        ("192.0.2.0/24,us-east,0", "'0' is not a round-trip time (allowed: milliseconds, above 0, up to 60000)"),
        ("192.0.2.0/24,us-east,-1", "is not a round-trip time"),
        ("192.0.2.0/24,us-east,60001", "is not a round-trip time"),
        ("192.0.2.0/24,us-east,nan", "is not a round-trip time"),
        ("192.0.2.0/24,us-east,inf", "is not a round-trip time"),
        ("192.0.2.0/24,us-east,1_0", "is not a round-trip time"),
        ("192.0.2.0/24,us-east,12ms", "'12ms' is not a round-trip time"),
        ("192.0.2.0/24,us-east,", "'' is not a round-trip time"),
        ("192.0.2.0/24,us-east,1,0", "'0' is not a number of measurements (allowed: 1 to 1000000)"),
        ("192.0.2.0/24,us-east,1,1000001", "is not a number of measurements"),
        ("192.0.2.0/24,us-east,1,²", "is not a number of measurements"),
        ("192.0.2.0/24,us-east,1,", "'' is not a number of measurements"),
        ("192.0.2.0/24;us-east;1", "has 1 fields"),
        ("x" * (LINE_MAX_BYTES + 1), f"a line of more than {LINE_MAX_BYTES} octets"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line: str, said: str) -> None:
    [fault] = faults(f"192.0.2.0/24,us-east,1\n{line}\n192.0.3.0/24,us-east,1\n")
    assert fault.startswith("rtt.csv:2: ")
    assert said in fault
    assert "(allowed: " in fault


def test_a_header_in_the_middle_is_no_header() -> None:
    assert "'prefix' is not a network" in faults("192.0.2.0/24,us-east,1\nprefix,us-east,1\n")[0]


def test_what_is_not_text() -> None:
    assert faults(b"192.0.2.0/24,us-east,1\n\xff\xfe\n")[0].startswith("rtt.csv:2: is not UTF-8")


def test_all_faults_at_once_but_not_more_than_one_reads() -> None:
    assert len(faults("x\n\ny\n")) == 2
    assert len(faults("x\n" * 1000)) == FAULTS_MAX


def test_nothing_of_a_file_with_a_fault_is_taken() -> None:
    content = "192.0.2.0/24,us-east,1\n" * 100_000 + "oops\n"
    assert faults(content)[0].startswith("rtt.csv:100001: ")


def test_any_region_where_none_are_known() -> None:
    assert read("192.0.2.0/24,somewhere,1\n", None)[0].region == "somewhere"


NETWORKS = st.one_of(
    st.integers(8, 32).flatmap(lambda n: st.integers(0, 2**n - 1).map(lambda i: f"{ip_network((i << 32 - n, n))}")),
    st.integers(16, 128).flatmap(
        lambda n: st.integers(0, 2**n - 1).map(lambda i: f"{ip_network(((i << 128 - n) | 1 << 127, n), strict=False)}")
    ),
)
ROWS = st.lists(
    st.tuples(NETWORKS, st.sampled_from(REGIONS), st.floats(0.001, RTT_MAX_S * 1e3), st.integers(1, 1_000_000))
)


@given(ROWS)
def test_what_is_written_is_read(rows: list[tuple[str, str, float, int]]) -> None:
    content = "".join(f"{network},{region},{rtt!r},{count}\n" for network, region, rtt, count in rows)
    found = [(str(one.network), one.region, one.rtt_s, one.count) for one in read(content)]
    assert found == [(network, region, rtt / 1e3, count) for network, region, rtt, count in rows]


LINES = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.lists(
            st.sampled_from(["192.0.2.0/24", "::/16", "1", "us-east", "", " ", "/", "#", '"', "-0", "1e999", "prefix"]),
            max_size=6,
        ).map(lambda cells: ",".join(cells).encode()),
    )
)


@given(LINES)
@example([b"\xef\xbb\xbf", b"prefix"])
def test_whatever_is_in_a_file_it_is_samples_or_faults_with_lines(lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    try:
        samples = read(content)
    except ConfigErrors as errors:
        numbers = [one.line or 0 for one in errors.errors]
        assert all(1 <= number <= content.count(b"\n") + 1 for number in numbers)
        assert all(before <= after for before, after in pairwise(numbers))
        assert all(one.allowed for one in errors.errors)
        return
    assert all(0 < one.rtt_s <= RTT_MAX_S and one.region in REGIONS and one.count >= 1 for one in samples)
