from __future__ import annotations

import contextlib
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.config import clients, codes, dnsnames, scalars
from gtm.config.nearby import did_you_mean, listed
from gtm.config.scalars import Unfit
from gtm.geo.countries import COUNTRIES
from gtm.model.address import Endpoint
from gtm.model.policy import Network

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.from_regex(r"[0-9:.%/a-zA-Z-]{0,20}", fullmatch=True)
    | st.tuples(st.text(max_size=5))
)
READERS = (
    scalars.seconds,
    scalars.share,
    scalars.endpoint,
    scalars.address,
    scalars.unicast,
    scalars.ipv4,
    scalars.ipv6,
    dnsnames.label,
    dnsnames.absolute,
    lambda value: dnsnames.owner(value, "example.com."),
    clients.matcher,
    clients.client,
)


@given(st.sampled_from(READERS), ANYTHING)
def test_any_value_is_read_or_unfit(reader: Any, value: object) -> None:
    with contextlib.suppress(Unfit):
        assert reader(value) is not None


@given(st.integers(0, 10**8), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("", 1)]))
def test_durations(number: int, unit: tuple[str, float]) -> None:
    assert scalars.seconds(f"{number}{unit[0]}") == pytest.approx(number * unit[1])
    assert scalars.seconds(number) == number


@given(st.integers(0, 10000))
def test_percentages(hundredths: int) -> None:
    assert scalars.share(f"{hundredths / 100}%") == pytest.approx(hundredths / 10000)


@given(st.ip_addresses().filter(lambda address: "%" not in str(address)), st.integers(1, 65535))
def test_endpoints_are_read_as_they_are_written(address: Any, port: int) -> None:
    endpoint = Endpoint(address=address, port=port)
    assert scalars.endpoint(str(endpoint)) == endpoint


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_networks_need_their_host_bits_zero(address: Any, length: int) -> None:
    network = ip_network(f"{address}/{length}", strict=False)
    assert clients.matcher(str(network)) == Network(network=network)
    assert clients.client(str(network)) == network
    if address != network.network_address:
        with pytest.raises(Unfit, match=f"did you mean {network}"):
            clients.matcher(f"{address}/{length}")


def test_a_client_is_an_address_a_network_or_a_code() -> None:
    assert clients.client("2001:db8::1") == ip_address("2001:db8::1")
    assert clients.client("NO") == "NO"
    assert clients.client("US-CA") == "US-CA"
    for wrong in ("AS64500", "continent:EU", "nowhere", "", "192.0.2.1/24", "US-ZZ", "usa"):
        with pytest.raises(Unfit):
            clients.client(wrong)


def test_every_country_that_geo_knows_may_be_named() -> None:
    assert set(COUNTRIES) <= codes.COUNTRIES
    assert set(codes.SUBDIVISIONS) <= codes.COUNTRIES
    assert len(codes.COUNTRIES) == 250


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (".", "empty label"),
        ("a..b.", "empty label"),
        ("a", "not an absolute name"),
        ("a b.", "not one of a host name"),
        ("-a.", "not one of a host name"),
        ("a-.", "not one of a host name"),
        ("*.a.", "no wildcard here"),
        ("é.", "not ASCII"),
        (f"{'a' * 64}.", "64 octets"),
        (f"{'a.' * 128}", "257 octets"),
    ],
)
def test_names_are_those_of_rfc_1035(value: str, message: str) -> None:
    with pytest.raises(Unfit, match=message):
        dnsnames.absolute(value)


def test_a_name_may_have_255_octets() -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61]) + "."
    assert dnsnames.absolute(longest) == longest
    with pytest.raises(Unfit, match="256 octets"):
        dnsnames.absolute(
            "a" + longest[: -62 - 1] + "." + "a" * 61 + "." if len(longest) > 300 else f"{longest[:-1]}a."
        )


def test_suggestions() -> None:
    assert did_you_mean("us-esat", ["us-east", "eu-west"]) == "; did you mean us-east?"
    assert did_you_mean("US_EAST", ["us-east"]) == "; did you mean us-east?"
    assert did_you_mean("moon", ["us-east"]) == ""
    assert did_you_mean("x", map(str, range(100_000))) == ""
    assert listed(map(str, range(20)), limit=2) == "0, 1, and 18 more"
