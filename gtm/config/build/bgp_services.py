"""bgp/anycast.yaml: services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from gtm.config.build.bgp_rules import build_treatment
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.known import Known
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.bgp import LOCAL_ADDRESS, LocalShape, PhaseShape, ServiceShape
from gtm.model.address import IPNetwork
from gtm.model.anycast import DISABLED_METRIC, DOWN_METRIC, UP_METRIC, Phase, Service, Treatment
from gtm.model.check import Cadence, Check, Composed, ExecProbe, PushProbe, Target
from gtm.model.pool import Pool
from gtm.model.route import GRACEFUL_SHUTDOWN, Communities

EXEC_INTERVAL_MIN_S = 0.5
INTERFACE_DEFAULT = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What services may refer to: regions, checks and pools, with the names of those that have faults of their own."""

    folder: Path
    regions: Known
    checks: Mapping[str, Check]
    check_names: Known
    pools: Mapping[str, Pool]
    pools_complete: bool


def build_services(document: Document, shapes: Mapping[str, ServiceShape], around: Around) -> dict[str, Service]:
    """The services by name."""
    services: dict[str, Service] = {}
    for name, shape in shapes.items():
        place = ("services", name)
        prefixes = _prefixes(document, name, shape)
        services[name] = Service(
            name=name,
            prefixes=prefixes,
            regions=_regions(document, place, shape, around.regions),
            local=_local(document, place, shape, around),
            pool=_pool(document, place, shape, around),
            base=build_treatment(shape.base),
            treatments=_treatments(shape),
            providers={provider: build_treatment(each) for provider, each in shape.providers.items()},
            withdraw_on_down=shape.withdraw_on_down,
            disable_file=None if shape.disable is None else str(around.folder / shape.disable),
            addresses=shape.addresses,
            interface=(shape.interface or INTERFACE_DEFAULT) if shape.addresses else None,
            connection_ports=tuple(dict.fromkeys(shape.ports)),
        )
        _check_addresses(document, place, shape, prefixes)
        _check_pace(document, place, shape)
    _check_overlaps(document, shapes)
    return services


def _prefixes(document: Document, name: str, shape: ServiceShape) -> tuple[IPNetwork, ...]:
    """A service's prefixes, each once."""
    found: dict[IPNetwork, None] = {}
    for position, prefix in enumerate(shape.prefixes):
        if prefix in found:
            place = ("services", name, "prefixes", position)
            document.fault(place, f"{prefix} is listed twice", "each prefix once")
        found[prefix] = None
    return tuple(found)


def _check_overlaps(document: Document, shapes: Mapping[str, ServiceShape]) -> None:
    """No part of a prefix is another service's: looked up by the prefixes around it, not by comparing all with all."""
    listed_first: dict[IPNetwork, tuple[int, str]] = {}
    places: list[tuple[IPNetwork, str, int]] = []
    for name, shape in shapes.items():
        for position, prefix in enumerate(shape.prefixes):
            listed_first.setdefault(prefix, (len(places), name))
            places.append((prefix, name, position))
    lengths = {version: sorted({p.prefixlen for p in listed_first if p.version == version}) for version in (4, 6)}
    faulty: dict[int, tuple[IPNetwork, str]] = {}
    for number, (prefix, name, _) in enumerate(places):
        for length in lengths[prefix.version]:
            if length > prefix.prefixlen:
                break
            around = prefix.supernet(new_prefix=length)
            other = listed_first.get(around)
            if other is not None and other[1] != name:
                later, earlier = (number, (around, other[1])) if other[0] < number else (other[0], (prefix, name))
                faulty.setdefault(later, earlier)
    for number, (earlier_prefix, owner) in faulty.items():
        prefix, name, position = places[number]
        words = f"{prefix} overlaps {earlier_prefix} of {owner}"
        document.fault(("services", name, "prefixes", position), words, "prefixes of one service only")


def _regions(document: Document, place: Steps, shape: ServiceShape, regions: Known) -> tuple[str, ...]:
    """The regions that a service names, or all."""
    if not shape.regions:
        return tuple(regions)
    for position, region in enumerate(shape.regions):
        if region not in regions:
            unknown_region(document, (*place, "regions", position), region, regions)
    return tuple(dict.fromkeys(shape.regions))


def _local(document: Document, place: Steps, shape: ServiceShape, around: Around) -> dict[Target, Check]:
    """The local checks: what is asked is the check's, how often and how many times is the service's."""
    found: dict[Target, Check] = {}
    for position, each in enumerate(shape.local):
        spot = (*place, "local", position)
        if each.check not in around.check_names:
            words = f"there is no check {each.check}{did_you_mean(each.check, around.check_names)}"
            document.fault((*spot, "check"), words, listed(around.check_names) or "none: there are no checks")
        if (check := around.checks.get(each.check)) is None:
            continue
        if isinstance(check.probe, PushProbe | Composed):
            kind = "is composed of others" if isinstance(check.probe, Composed) else "is pushed to the controller"
            document.fault(
                (*spot, "check"), f"{each.check} {kind}", "a check that asks, such as http, tcp, dns or exec"
            )
            continue
        target = Target(check=each.check, address=each.address or IPv4Address(LOCAL_ADDRESS))
        if target in found:
            document.fault(spot, f"{target} is listed twice", "each check and address once")
        cadence = _cadence(shape, each)
        if isinstance(check.probe, ExecProbe) and min(cadence.interval_s, cadence.fast_s or 1.0) < EXEC_INTERVAL_MIN_S:
            words = f"{each.check} starts a program, which is too much that often"
            document.fault(spot, words, f"interval and fast_interval of {EXEC_INTERVAL_MIN_S:g}s or more")
        found[target] = replace(check, cadence=cadence)
    return found


def _cadence(shape: ServiceShape, each: LocalShape) -> Cadence:
    """As healthcheck.py keeps it: no jitter, and the fast interval while a change is about to occur."""
    interval_s = shape.interval if each.interval is None else each.interval
    fast_s = shape.fast_interval if each.fast_interval is None else each.fast_interval
    return Cadence(
        interval_s=interval_s,
        timeout_s=shape.timeout if each.timeout is None else each.timeout,
        fall=shape.fall if each.fall is None else each.fall,
        rise=shape.rise if each.rise is None else each.rise,
        jitter=0.0,
        fast_s=min(fast_s, interval_s),
    )


def _pool(document: Document, place: Steps, shape: ServiceShape, around: Around) -> str | None:
    """The pool that a service names, if it has something in each of the service's regions."""
    name = shape.pool
    if name is None:
        return None
    pool = around.pools.get(name)
    if pool is None:
        if around.pools_complete:
            words = f"there is no pool {name[:80]}{did_you_mean(name, around.pools)}"
            document.fault((*place, "pool"), words, listed(around.pools) or "none: no zone has pools")
        return None
    has = {instance.region for instance in pool.instances}
    lacking = [region for region in shape.regions or around.regions if region in around.regions and region not in has]
    if lacking and document.intact(*place):
        words = f"{name} has nothing in {', '.join(lacking)}, so it would never be announced there"
        common = [region for region in shape.regions or around.regions if region in has]
        document.fault((*place, "pool"), words, f"regions: [{', '.join(common)}]" if common else "another pool")
    return name


def _treatments(shape: ServiceShape) -> dict[Phase, Treatment]:
    """By phase: healthcheck.py's MEDs unless others are given; DRAINING is as UP, HELD as DOWN and shunned."""
    up, down = _phase(shape.up, UP_METRIC), _phase(shape.down, DOWN_METRIC)
    shunned = replace(down, communities=down.communities | Communities(standard=(GRACEFUL_SHUTDOWN,)))
    return {
        Phase.UP: up,
        Phase.DOWN: down,
        Phase.DISABLED: _phase(shape.disabled, DISABLED_METRIC),
        Phase.DRAINING: up if shape.draining is None else _phase(shape.draining, up.med),
        Phase.HELD: shunned if shape.held is None else _phase(shape.held, down.med),
    }


def _phase(shape: PhaseShape, med: int | None) -> Treatment:
    treatment = build_treatment(shape)
    return treatment if "med" in shape.model_fields_set else replace(treatment, med=med)


def _check_addresses(document: Document, place: Steps, shape: ServiceShape, prefixes: tuple[IPNetwork, ...]) -> None:
    for position, address in enumerate(shape.addresses):
        if address in shape.addresses[:position]:
            document.fault((*place, "addresses", position), f"{address} is listed twice", "each address once")
        if not any(address in prefix for prefix in prefixes) and document.intact(*place, "prefixes"):
            allowed = f"an address within {listed(map(str, prefixes))}"
            document.fault((*place, "addresses", position), f"{address} is in none of its prefixes", allowed)
    if shape.interface is not None and "addresses" not in document.written(*place):
        document.fault((*place, "interface"), "nothing is put on it", "addresses beside it, or no such key")


def _check_pace(document: Document, place: Steps, shape: ServiceShape) -> None:
    """A fast interval that is written must be the faster one."""
    if "fast_interval" in shape.model_fields_set and shape.fast_interval > shape.interval:
        words = f"{shape.fast_interval:g}s is longer than the interval"
        document.fault((*place, "fast_interval"), words, f"up to {shape.interval:g}s")
    for position, each in enumerate(shape.local):
        interval_s = shape.interval if each.interval is None else each.interval
        if each.fast_interval is not None and each.fast_interval > interval_s:
            words = f"{each.fast_interval:g}s is longer than the interval"
            document.fault((*place, "local", position, "fast_interval"), words, f"up to {interval_s:g}s")
