"""probes/load.yaml made at random, written, and read back as what it was; and what it needs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.config.build import load as build_module
from gtm.config.deployment import load
from gtm.config.watch import watch_signature
from gtm.model.errors import ConfigErrors
from gtm.model.load import LoadFileSource, LoadMetric, LoadQuery, LoadSettings, PrometheusSource
from tests.config.folders import GOOD, write

queries = st.builds(
    LoadQuery,
    metric=st.sampled_from(LoadMetric),
    query=st.sampled_from(("up", "sum by (instance)(rate(x[1m]))", 'a{b="c: d"} # e', "12", "no")),
    label=st.sampled_from(("instance", "region", "us-east", "_x1")),
)
urls = st.sampled_from(
    ("http://127.0.0.1:9090", "https://prometheus.example.com/prom", "http://[::1]:9090", "http://a", "https://b:1/x/y")
)
sources = st.lists(
    st.builds(PrometheusSource, url=urls, queries=st.lists(queries, min_size=1, max_size=3).map(tuple))
    | st.builds(LoadFileSource, path=st.sampled_from(("/run/gtm/load.json", "/a b", "/no"))),
    max_size=4,
    unique_by=lambda one: one.url if isinstance(one, PrometheusSource) else one.path,
).map(tuple)
settings_of_load = st.integers(1, 3600).flatmap(
    lambda interval: st.builds(
        LoadSettings,
        sources=sources,
        interval_s=st.just(float(interval)),
        timeout_s=st.floats(0.1, interval).map(lambda value: round(value, 3)),
        half_life_s=st.integers(0, 3600).map(float),
        age_max_s=st.integers(interval, 86_400).map(float),
        reports=st.booleans(),
    )
)


def written(wanted: LoadSettings) -> str:
    tree: dict[str, Any] = {
        "interval": f"{wanted.interval_s:g}s",
        "timeout": wanted.timeout_s,
        "half_life": wanted.half_life_s,
        "age_max": f"{wanted.age_max_s:.0f}s",
        "reports": wanted.reports,
        "sources": [
            {"file": one.path}
            if isinstance(one, LoadFileSource)
            else {
                "prometheus": one.url,
                "queries": [
                    {"metric": str(each.metric), "query": each.query, "label": each.label} for each in one.queries
                ],
            }
            for one in wanted.sources
        ],
    }
    return str(yaml.safe_dump(tree))


@settings(max_examples=60, deadline=None)
@given(settings_of_load)
def test_what_is_written_is_read(wanted: LoadSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = load(write(Path(folder), {**GOOD, "probes/load.yaml": written(wanted)})).load
    assert found == wanted


def test_without_the_file_there_is_no_load_and_an_empty_mapping_is_all_defaults(tmp_path: Path) -> None:
    files = {name: text for name, text in GOOD.items() if name != "probes/load.yaml"}
    assert load(write(tmp_path, files)).load is None
    write(tmp_path, {"probes/load.yaml": "{}\n"})
    assert load(tmp_path).load == LoadSettings()


def test_a_short_interval_shortens_the_timeout_that_is_not_given_and_files_are_of_the_folder(tmp_path: Path) -> None:
    found = load(write(tmp_path, {**GOOD, "probes/load.yaml": "interval: 2\nsources: {file: run/load.json}\n"})).load
    assert found is not None
    assert found.timeout_s == 2.0
    assert found.sources == (LoadFileSource(path=str(tmp_path / "run/load.json")),)


def test_prometheus_without_its_extra_is_an_error_that_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "find_spec", lambda _: None)
    write(tmp_path, GOOD)
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path)
    assert "pip install 'gtm[http]'" in str(caught.value)
    assert "probes/load.yaml:4: sources[0].prometheus: " in str(caught.value)
    write(tmp_path, {"probes/load.yaml": "sources: {file: x.json}\n"})
    assert load(tmp_path).load is not None


def test_an_edit_is_noticed(tmp_path: Path) -> None:
    before = watch_signature(write(tmp_path, GOOD))
    write(tmp_path, {"probes/load.yaml": "reports: true\n"})
    assert watch_signature(tmp_path) != before


def test_a_name_that_is_nearly_right_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "probes/load.yml": "{}\n"})
    with pytest.raises(ConfigErrors, match="load.yml: is not read"):
        load(tmp_path)
