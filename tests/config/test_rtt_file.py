"""probes/rtt.yaml made at random, written, and read back as what it was; and `order: rtt`."""

from __future__ import annotations

import tempfile
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.config.deployment import load
from gtm.config.watch import watch_signature
from gtm.model.policy import Order
from gtm.model.rtt import RttFile, RttFormat, RttKind, RttSettings, RttTarget
from tests.config.folders import GOOD, said, write

addresses = st.sampled_from([ip_address(text) for text in ("192.0.2.1", "198.51.100.7", "2001:db8::1", "::1")])
targets = st.lists(
    st.builds(RttTarget, address=addresses)
    | st.builds(
        RttTarget,
        address=addresses,
        kind=st.sampled_from((RttKind.TCP, RttKind.DNS)),
        port=st.integers(1, 65_535),
    ),
    max_size=4,
    unique=True,
).map(tuple)
files = st.lists(
    st.builds(RttFile, path=st.sampled_from(("a.csv", "/b c.csv", "no")))
    | st.builds(
        RttFile,
        path=st.sampled_from(("x.json", "/y.json")),
        format=st.just(RttFormat.ATLAS),
        regions=st.dictionaries(addresses, st.sampled_from(("us-east", "eu-west")), min_size=1),
    ),
    max_size=4,
    unique_by=lambda one: one.path,
).map(tuple)
of_rtt = st.integers(1, 3600).flatmap(
    lambda interval: st.builds(
        RttSettings,
        targets=targets,
        interval_s=st.just(float(interval)),
        timeout_s=st.floats(0.1, interval).map(lambda value: round(value, 3)),
        files=files,
        passive=st.booleans(),
        reports=st.booleans(),
        prefix4=st.integers(8, 24),
        prefix6=st.integers(16, 64),
        networks_max=st.integers(1, 100_000),
        half_life_s=st.integers(0, 604_800).map(float),
        samples_min=st.integers(1, 1000),
        age_max_s=st.integers(max(interval, 60), 86_400 * 10).map(float),
        band_share=st.integers(0, 100).map(lambda value: value / 100),
        band_s=st.integers(0, 10_000).map(lambda value: value / 1000),
        dwell_s=st.integers(0, 604_800).map(float),
    )
)


def target(one: RttTarget) -> Any:
    if one.kind is RttKind.ICMP:
        return str(one.address)
    return {"address": str(one.address), "kind": str(one.kind), "port": one.port}


def file(one: RttFile) -> Any:
    if one.format is RttFormat.CSV:
        return one.path
    return {
        "path": one.path,
        "format": "atlas",
        "regions": {str(where): region for where, region in one.regions.items()},
    }


def written(wanted: RttSettings) -> str:
    tree = {
        "targets": [target(one) for one in wanted.targets],
        "interval": f"{wanted.interval_s:g}s",
        "timeout": wanted.timeout_s,
        "files": [file(one) for one in wanted.files],
        "passive": wanted.passive,
        "reports": wanted.reports,
        "prefix4": wanted.prefix4,
        "prefix6": wanted.prefix6,
        "networks_max": wanted.networks_max,
        "half_life": wanted.half_life_s,
        "samples_min": wanted.samples_min,
        "age_max": f"{wanted.age_max_s:.0f}s",
        "band": {"share": f"{wanted.band_share * 100:.0f}%", "least": f"{wanted.band_s * 1000:.0f}ms"},
        "dwell": wanted.dwell_s,
    }
    return str(yaml.safe_dump(tree))


@settings(max_examples=60, deadline=None)
@given(of_rtt)
def test_what_is_written_is_read(wanted: RttSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = load(write(Path(folder), {**GOOD, "probes/rtt.yaml": written(wanted)})).rtt
    assert found == wanted


def test_without_the_file_there_is_nothing_and_an_empty_mapping_is_all_defaults(tmp_path: Path) -> None:
    files_ = {name: text for name, text in GOOD.items() if name != "probes/rtt.yaml"}
    assert load(write(tmp_path, files_)).rtt is None
    write(tmp_path, {"probes/rtt.yaml": "{}\n"})
    assert load(tmp_path).rtt == RttSettings()
    write(tmp_path, {"probes/rtt.yaml": "interval: 1\n"})
    found = load(tmp_path).rtt
    assert found is not None
    assert found.timeout_s == 1.0


def test_an_edit_is_noticed_and_a_name_that_is_nearly_right_is_refused(tmp_path: Path) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    write(tmp_path, {"probes/rtt.yaml": "dwell: 5m\n"})
    assert watch_signature(tmp_path) != before
    write(tmp_path, {"probes/rtt.yml": "{}\n"})
    assert "probes/rtt.yml: is not read (allowed: the name probes/rtt.yaml)" in said(tmp_path)


def test_orders_by_rtt(tmp_path: Path) -> None:
    rules = "[{from: BR, order: rtt}, {from: US, order: [us-east, rtt]}, {order: nearest}]"
    steering = f"pools: {{web: {{us-east: [192.0.2.11]}}}}\nnames:\n  www: {{pool: web, steer: {rules}}}\n"
    found = load(write(tmp_path, {**GOOD, "zones/lb.example.com.yaml": steering}))
    assert [rule.order for rule in found.names[0].policy.rules] == [
        Order(nearest=True, rtt=True),
        Order(regions=("us-east",), nearest=True, rtt=True),
        Order(nearest=True),
    ]
