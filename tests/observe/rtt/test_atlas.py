"""RIPE Atlas results: all forms that its firmwares have had, and whatever else may be in such a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.errors import ConfigErrors
from gtm.model.rtt import RttSample
from gtm.observe.rtt import atlas
from gtm.observe.rtt.atlas import atlas_scan
from gtm.observe.rtt.readings import RTT_MAX_S, checked

NOW_S = 1_800_000_000.0
REGIONS = {
    ip_address("193.0.14.129"): "eu-west",
    ip_address("2001:7fd::1"): "us-east",
    ip_address("178.63.78.16"): "eu-west",
}

# One of each form, after the examples of the documentation of the versions named.
FW_5020: dict[str, Any] = {
    "fw": 5020, "mver": "2.2.1", "lts": 43, "dst_name": "193.0.14.129", "af": 4, "dst_addr": "193.0.14.129",
    "src_addr": "192.168.10.6", "proto": "ICMP", "ttl": 55, "size": 48,
    "result": [{"rtt": 31.909145}, {"rtt": 31.469868}, {"rtt": 32.286958}], "dup": 0, "rcvd": 3, "sent": 3,
    "min": 31.469868, "max": 32.286958, "avg": 31.888657, "msm_id": 41688561, "prb_id": 1000650,
    "timestamp": 1654959318, "msm_name": "Ping", "from": "79.156.126.125", "type": "ping", "step": None,
}  # fmt: skip
FW_4400: dict[str, Any] = {
    "addr": "2001:7fd::1", "avg": 2.17, "dup": 0, "from": "2001:67c:2e8:13:220:4aff:fec6:cc1e", "fw": 4400,
    "max": 2.2, "min": 2.148, "mode": "ICMP6", "msm_id": 2001, "name": "2001:7fd::1", "prb_id": 21, "rcvd": 3,
    "result": [{"rtt": 2.2}, {"rtt": 2.148}, {"rtt": 2.17}], "sent": 3, "size": 20,
    "srcaddr": "2001:67c:2e8:13:220:4aff:fec6:cc1e", "timestamp": 1340000000, "ttl": 60,
}  # fmt: skip
FW_1: dict[str, Any] = {
    "addr": "178.63.78.16", "avg": 20.126, "dup": 0, "from": "62.194.83.50", "fw": 1, "max": 20.3, "min": 19.938,
    "msm_id": 1000047, "name": "atlas.ripe.net", "prb_id": 165, "rcvd": 3, "sent": 3, "size": 56,
    "timestamp": 1332938930,
}  # fmt: skip


def read(content: bytes | str) -> tuple[list[RttSample], dict[str, int]]:
    raw = content.encode() if isinstance(content, str) else content
    samples, notes = checked(io.BytesIO(raw), "atlas.json", atlas_scan(REGIONS, NOW_S))
    return list(samples), notes.ignored


def fault(content: bytes | str) -> str:
    with pytest.raises(ConfigErrors) as raised:
        read(content)
    [error] = raised.value.errors
    assert error.allowed == atlas.ALLOWED
    return str(error)


def one(**changed: object) -> tuple[list[RttSample], dict[str, int]]:
    return read(json.dumps({**FW_5020, **changed}))


FORMS: dict[str, Callable[[list[Any]], str]] = {
    "a list": json.dumps,
    "a list over lines": lambda results: json.dumps(results, indent=2),
    "one per line": lambda results: "\n".join(map(json.dumps, results)) + "\n",
    "one per line, no last line end": lambda results: "\r\n".join(map(json.dumps, results)),
    "after a byte order mark": lambda results: "\ufeff" + json.dumps(results),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read_bytes", [1, 7, 1 << 20])
def test_every_form_and_every_firmware(form: str, read_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "READ_BYTES", read_bytes)
    samples, ignored = read(FORMS[form]([FW_5020, FW_4400, FW_1]))
    assert samples == [
        RttSample(network=ip_network("79.156.126.0/24"), region="eu-west", rtt_s=31.469868 / 1e3, at_s=1654959318),
        RttSample(network=ip_network("2001:67c:2e8::/48"), region="us-east", rtt_s=2.148 / 1e3, at_s=1340000000),
        RttSample(network=ip_network("62.194.83.0/24"), region="eu-west", rtt_s=19.938 / 1e3, at_s=1332938930),
    ]
    assert ignored == {}


@pytest.mark.parametrize("content", ["", " \n", "[]", "[ ]\n"])
def test_nothing_is_nothing(content: str) -> None:
    assert read(content) == ([], {})


@pytest.mark.parametrize(
    ("packets", "rtt_s"),
    [
        ([{"x": "*"}, {"rtt": 5.5}, {"rtt": 5.0, "dup": 1}], 0.0055),
        ([{"error": "connect failed"}, {"rtt": 7}], 0.007),
        ([{"rtt": 0}, {"rtt": -3}, {"rtt": 8.0}], 0.008),
        ([None, 4, {"rtt": "5"}, {"rtt": True}, {"rtt": 9.0, "ttl": 3}], 0.009),
    ],
)
def test_the_least_of_the_packets_that_came(packets: list[object], rtt_s: float) -> None:
    samples, _ = one(result=packets)
    assert [sample.rtt_s for sample in samples] == [rtt_s]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"result": [{"x": "*"}] * 3, "min": -1, "avg": -1, "max": -1, "rcvd": 0}, atlas.NO_REPLY),
        ({"result": [], "min": None}, atlas.NO_REPLY),
        ({"result": [{"rtt": 99_000_000.0}]}, atlas.NO_REPLY),
        ({"dst_addr": "198.51.100.1"}, atlas.UNKNOWN),
        ({"dst_addr": None}, atlas.UNKNOWN),
        ({"dst_addr": ["193.0.14.129"]}, atlas.UNKNOWN),
        ({"from": "10.0.0.1"}, atlas.NO_ADDRESS),
        ({"from": "100.64.3.4"}, atlas.NO_ADDRESS),
        ({"from": "fe80::1"}, atlas.NO_ADDRESS),
        ({"from": "", "src_addr": "192.168.1.2"}, atlas.NO_ADDRESS),
        ({"from": 7}, atlas.NO_ADDRESS),
        ({"type": "traceroute"}, atlas.NO_PING),
        ({"timestamp": None}, atlas.UNTIMED),
        ({"timestamp": "now"}, atlas.UNTIMED),
        ({"timestamp": -1}, atlas.UNTIMED),
    ],
)
def test_what_tells_nothing_is_ignored_and_counted(changed: dict[str, object], why: str) -> None:
    assert one(**changed) == ([], {why: 1})


def test_a_failed_lookup_has_no_destination() -> None:
    failed = {"fw": 5020, "dst_name": "gone.example", "error": "dns resolution failed: non-recoverable failure"}
    assert read(json.dumps([failed])) == ([], {atlas.UNKNOWN: 1})


def test_without_the_outer_address_the_inner_one_will_do_if_it_is_public() -> None:
    samples, _ = one(**{"from": "", "src_addr": "79.156.126.125"})
    assert samples[0].network == ip_network("79.156.126.0/24")


def test_a_probe_s_clock_does_not_put_it_in_the_future() -> None:
    samples, _ = one(timestamp=NOW_S + 5000)
    assert samples[0].at_s == NOW_S


GOOD = json.dumps(FW_5020)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("oops", 1, "is not JSON"),
        (f"{GOOD}\n{GOOD}\n{GOOD[:-40]}", 3, "is not JSON"),
        (f"[{GOOD},\n{GOOD}", 2, "ends in the middle of the list"),
        (f"[{GOOD},\n{GOOD},\n", 3, "ends in the middle of the list"),
        (f"[{GOOD}]\n\n[{GOOD}]", 3, "something follows the list"),
        (f"{GOOD}\n\n17\n", 3, "the number 17 in place of a result"),
        ('"text"', 1, "'text' in place of a result"),
        ("[[]]", 1, "a list in place of a result"),
        ("{" * 100_000, 1, "is not JSON"),
        ("[" * 100_000, 1, "is not JSON"),
        (f'{{"a": {"9" * 10_000}}}', 1, "is not JSON"),
        (f'{{"a": "{"x" * (3 << 20)}', 1, "is not JSON"),
        (b"\xff\xfe[]", 1, "is not UTF-8"),
        (b'{"a": "\xc3', 1, "is not UTF-8"),
    ],
)
def test_what_is_no_such_file_is_said(content: str | bytes, line: int, said: str) -> None:
    error = fault(content)
    assert error.startswith(f"atlas.json:{line}: ")
    assert said in error


def test_nothing_of_a_torn_file_is_taken() -> None:
    assert "atlas.json:5001: " in fault(f"{GOOD}\n" * 5000 + GOOD[:100])


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*sorted(FW_5020), "addr", "rtt"]), ANY), st.booleans())
def test_whatever_a_result_holds_it_is_a_sample_or_ignored(changed: dict[str, object], listed: bool) -> None:
    result = {**FW_5020, **changed}
    samples, ignored = read(json.dumps([result] if listed else result))
    assert len(samples) + sum(ignored.values()) == 1
    for sample in samples:
        assert 0 < sample.rtt_s <= RTT_MAX_S
        assert 0 < sample.at_s <= NOW_S


@given(st.one_of(st.binary(), st.text(alphabet='[]{}",: \n01e-', max_size=40).map(str.encode), ANY.map(json.dumps)))
def test_whatever_is_in_a_file_it_is_read_or_refused_with_its_line(content: bytes | str) -> None:
    try:
        samples, _ = read(content)
    except ConfigErrors as errors:
        assert all(one.line is not None and one.line >= 1 for one in errors.errors)
    else:
        assert samples == []
