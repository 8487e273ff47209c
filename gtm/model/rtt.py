"""Round-trip times: what was measured between a client's network and a region, and what is wanted of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gtm.model.address import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class RttSample:
    """One measurement, or the mean of `count` of them, ended at `at_s`: from `network` to `region` and back."""

    network: IPNetwork
    region: str
    rtt_s: float
    at_s: float
    count: int = 1


class RttKind(StrEnum):
    """How an active probe measures: an echo, a TCP handshake, or a DNS query and its answer."""

    ICMP = "icmp"
    TCP = "tcp"
    DNS = "dns"


@dataclass(frozen=True, slots=True, kw_only=True)
class RttTarget:
    """An address, mostly a resolver's, that stands for the network around it."""

    address: IPAddress
    kind: RttKind = RttKind.ICMP
    port: int = 53


class RttFormat(StrEnum):
    """The forms of files with round-trip times that are read."""

    CSV = "csv"
    ATLAS = "atlas"


@dataclass(frozen=True, slots=True, kw_only=True)
class RttFile:
    """A file of measurements: lines of prefix,region,rtt in milliseconds, or results of RIPE Atlas pings as JSON.

    `regions` says which region an address stands for that Atlas probes measured.
    """

    path: str
    format: RttFormat = RttFormat.CSV
    regions: Mapping[IPAddress, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RttSettings:
    """probes/rtt.yaml: what is measured, and when it counts.

    Measurements are kept by client network of `prefix4` or `prefix6` bits, at most `networks_max` of them. An estimate
    moves half way to new measurements in `half_life_s`; it is warm with `samples_min` of them, and for `age_max_s`.
    Another region is preferred only if it is better by `band_share` of the time and by `band_s`, and at most once in
    `dwell_s`. `passive`: this node's own TCP connections count. `reports`: agents may report theirs.
    """

    targets: tuple[RttTarget, ...] = ()
    interval_s: float = 60.0
    timeout_s: float = 2.0
    files: tuple[RttFile, ...] = ()
    passive: bool = True
    reports: bool = False
    prefix4: int = 24
    prefix6: int = 48
    networks_max: int = 50_000
    half_life_s: float = 600.0
    samples_min: int = 5
    age_max_s: float = 86_400.0
    band_share: float = 0.1
    band_s: float = 0.005
    dwell_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RttState:
    """What a node knows of round-trip times, for those who show it. Ages in seconds; None where there is nothing.

    `networks` with any estimate, `warm` those with enough of them to decide by; the `regions` measured, and the `nodes`
    that told of theirs; how many networks, ASs and countries prefer an order of regions by now, and when that changed
    last. `samples` by source, probes that were `lost`, entries of files that were `ignored`, and the `problems` of
    files, by path.
    """

    networks: int = 0
    warm: int = 0
    regions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    networks_preferring: int = 0
    asns_preferring: int = 0
    countries_preferring: int = 0
    oldest_age_s: float | None = None
    newest_age_s: float | None = None
    changed_at_s: float | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    ignored: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)
