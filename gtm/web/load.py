"""Load -> metrics. Labels are sources and subjects of the deployment."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gtm.model.load import LoadSummary


def load_metrics(load: LoadSummary) -> Iterator[Metric]:
    """Every metric family of load."""
    measured = ("subject", "metric")
    value = GaugeMetricFamily("gtm_load_value", "Load of a region or instance, smoothed.", labels=measured)
    age = GaugeMetricFamily("gtm_load_age_seconds", "Age of the load of a region or instance.", labels=measured)
    for one in load.subjects:
        value.add_metric((one.subject, one.metric), one.load.value)
        age.add_metric((one.subject, one.metric), one.load.age_s)
    up = GaugeMetricFamily("gtm_load_source_up", "1 if the load source was read last time.", labels=("source",))
    samples = CounterMetricFamily("gtm_load_samples", "Values of load taken from the source.", labels=("source",))
    ignored = CounterMetricFamily(
        "gtm_load_ignored", "Values ignored: of nothing in the deployment, or no number.", labels=("source",)
    )
    failures = CounterMetricFamily(
        "gtm_load_failures", "Readings of the load source that failed, wholly or in part.", labels=("source",)
    )
    for state in load.sources:
        up.add_metric((state.source,), float(state.problem is None))
        samples.add_metric((state.source,), state.samples)
        ignored.add_metric((state.source,), state.ignored)
        failures.add_metric((state.source,), state.failures)
    yield from (value, age, up, samples, ignored, failures)
