from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gtm.model.health import Health
from gtm.web.metrics import HEALTH_VALUE, exposition
from tests.web.sample import STATUS


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def value(name: str, **labels: str) -> float:
    return samples(exposition(STATUS))[name, frozenset(labels.items())]


def test_what_is_counted() -> None:
    assert value("gtm_dns_queries_total", worker="dns-0", protocol="udp", family="ipv4") == 1201
    assert value("gtm_dns_responses_total", worker="dns-0", rcode="REFUSED") == 4
    assert value("gtm_dns_events_total", worker="dns-0", event="dropped") == 1
    assert value("gtm_table_revision") == 42
    assert value("gtm_table_age_seconds") == pytest.approx(0.4)
    assert value("gtm_controller_up") == 1
    assert value("gtm_worker_up", worker="dns-1") == 0
    assert value("gtm_region_available", pool="lb.example.com/web", region="eu-west") == 0
    assert value("gtm_override_orders", kind="region", action="drain") == 1
    assert value("gtm_probe_results_total", result="refused") == 39
    assert value("gtm_probe_starts_total") == 120
    assert value("gtm_probe_success", check="web", address="127.0.2.11") == 0


def test_the_check_is_shown_and_not_the_order() -> None:
    assert value("gtm_target_health", check="web", address="127.0.4.11") == HEALTH_VALUE[Health.UP]
    assert value("gtm_target_health", check="web", address="127.0.2.12") == HEALTH_VALUE[Health.UNKNOWN]
    assert value("gtm_instance_available", pool="lb.example.com/web", region="us-west", instance="127.0.4.11") == 0


def test_every_family_has_help_and_only_our_prefix() -> None:
    for family in text_string_to_metric_families(exposition(STATUS).decode()):
        assert family.name.startswith("gtm_")
        assert family.documentation.endswith(".")


def test_an_unreadable_state_folder_is_a_metric_too() -> None:
    found = samples(exposition(None))
    assert found["gtm_state_readable", frozenset()] == 0
    assert found["gtm_controller_up", frozenset()] == 0
