"""The class table of a whole deployment folder."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from gtm.app.geography import EMBEDDED, classes_of, read_geography
from gtm.config.deployment import load
from gtm.model.classes import ClassTable
from tests.app.node import CHECKS_YAML, GTM_YAML, OVERRIDES, REGIONS_YAML, STEERING, ZONE, write


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ClassTable:
    folder = tmp_path_factory.mktemp("geography")
    write(
        folder,
        {
            "gtm.yaml": GTM_YAML.format(port=5300, api="off"),
            "geodata/overrides.csv": OVERRIDES,
            "geodata/regions.yaml": REGIONS_YAML,
            "probes/checks.yaml": CHECKS_YAML.format(web=80),
            "zones/example.com.zone": ZONE,
            "zones/example.com.yaml": STEERING,
        },
    )
    deployment = load(folder)
    return classes_of(read_geography(folder, deployment), deployment, folder).table


@pytest.mark.parametrize("text", ["2000::1", "2003::1", "2001:1::1", "2001:db8::1", "2a00::1", "3fff::1"])
def test_no_scope_covers_networks_whose_clients_are_placed_by_ipv4(table: ClassTable, text: str) -> None:
    address = IPv6Address(text)
    block = IPv6Network((address, table.find6(int(address))[1]), strict=False)
    assert not any(block.overlaps(network) for network in EMBEDDED)


def test_overrides_place_their_networks(table: ClassTable) -> None:
    assert table.find4(0xCB000101)[1] == 24
    assert table.loci[table.find4(0xCB000301)[0]].place.country == "SG"
