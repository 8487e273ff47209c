"""JSON documents in which results, load and round-trip times are pushed -> typed values, all or nothing.

What is wrong is an AskedError whose argument is the place ("results[3].ttl") and which says what is allowed. A load
file has the same form as pushed load.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NoReturn

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.check import Check, PushProbe, Target
from gtm.model.errors import AskedError
from gtm.model.health import Health
from gtm.model.load import LoadMetric, LoadSample
from gtm.model.override import Subject
from gtm.model.push import DETAIL_MAX, TTL_MIN_S, PushedHealth
from gtm.model.rtt import RttSample

ENTRIES_MAX = 10_000
AMOUNT_MAX = 1e15
UTILISATION_MAX = 10.0
RTT_MAX_MS = 60_000.0
COUNT_MAX = 1_000_000
SHOWN_MAX = 60
WORDS = {"up": Health.UP, "degraded": Health.DEGRADED, "down": Health.DOWN}
LOAD_SUBJECTS = "region/REGION or instance/REGION/LABEL"
_PREFIX_MIN = {4: 8, 6: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """A document of load: when it was measured, if it says (seconds since the epoch), and what."""

    at_s: float | None
    samples: tuple[LoadSample, ...]


def parse(body: bytes, *, what: str = "body") -> object:
    """The value of a JSON text (RFC 8259, UTF-8). Raises AskedError."""
    try:
        return json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except RecursionError:
        raise AskedError("is nested too deeply", argument=what) from None
    except UnicodeDecodeError:
        raise AskedError("is not UTF-8 text", argument=what) from None
    except ValueError as error:
        raise AskedError(f"is not JSON: {error}", argument=what) from None


def healths(document: object, checks: Mapping[Target, Check], at_s: float) -> tuple[PushedHealth, ...]:
    """The results in {"check", "address", "health", "detail", "ttl"} or in {"results": [such, ...]}.

    `checks` are the targets that there are; those of push checks may be pushed. Raises AskedError.
    """
    mapping = _mapping(document, "body")
    if "results" not in mapping:
        return (_health(mapping, "", checks, at_s),)
    _only(mapping, ("results",), "")
    return tuple(
        _health(_mapping(each, place), f"{place}.", checks, at_s) for place, each in _entries(mapping, "results")
    )


def loads(document: object, at_s: float, known: Container[str] | None = None) -> Loads:
    """The load in {"at": seconds, "loads": [{"subject", "requests", "connections", "utilisation"}, ...]}.

    "at" may be missing and is taken to be `at_s` at most. Subjects must be in `known`, where it is given. Raises
    AskedError.
    """
    mapping = _mapping(document, "body")
    _only(mapping, ("at", "loads"), "")
    stated_s = None if "at" not in mapping else _amount(mapping["at"], "at", "seconds since the epoch")
    when_s = at_s if stated_s is None else min(stated_s, at_s)
    samples = tuple(
        sample
        for place, each in _entries(mapping, "loads")
        for sample in _load(_mapping(each, place), place, when_s, known)
    )
    return Loads(at_s=stated_s, samples=samples)


def rtts(document: object, regions: Container[str], at_s: float) -> tuple[RttSample, ...]:
    """The round-trip times in {"region", "samples": [{"prefix", "rtt_ms", "count"}, ...]}. Raises AskedError."""
    mapping = _mapping(document, "body")
    _only(mapping, ("region", "samples"), "")
    region = _text(mapping, "region", "")
    if region not in regions:
        raise AskedError(f"there is no region {shown(region)}", argument="region")
    return tuple(_rtt(_mapping(each, place), place, region, at_s) for place, each in _entries(mapping, "samples"))


def target_of(check: str, address: IPAddress, checks: Mapping[Target, Check], at: tuple[str, str]) -> Target:
    """The target of a push check; `at` are the places of the check's name and of the address. Raises AskedError."""
    target = Target(check=check, address=address)
    if target in checks and isinstance(checks[target].probe, PushProbe):
        return target
    names = {one.check: checks[one] for one in checks}
    pushed = tuple(name for name, one in names.items() if isinstance(one.probe, PushProbe))
    allowed = f"(allowed: {', '.join(pushed[:12]) or 'none: no pool has a push check'})"
    if check not in names:
        raise AskedError(f"no pool has a check {shown(check)} {allowed}", argument=at[0])
    if check not in pushed:
        raise AskedError(f"the check {check} probes by itself, nothing can be pushed for it {allowed}", argument=at[0])
    mine = [str(one.address) for one in checks if one.check == check]
    more = f", and {len(mine) - 12} more" if len(mine) > 12 else ""
    raise AskedError(
        f"{address} is no target of the check {check} (allowed: {', '.join(mine[:12])}{more})", argument=at[1]
    )


def ttl_of(ttl_s: float | None, check: Check, at: str) -> float:
    """How long a result of a push check counts: what was asked, within what the check allows. Raises AskedError."""
    limit_s = check.probe.ttl_s if isinstance(check.probe, PushProbe) else 0.0
    if ttl_s is None:
        return limit_s
    if not min(TTL_MIN_S, limit_s) <= ttl_s <= limit_s:
        raise AskedError(
            f"{ttl_s:g} s is out of range (allowed: {min(TTL_MIN_S, limit_s):g} s to the check's own {limit_s:g} s)",
            argument=at,
        )
    return ttl_s


def detail_of(text: str, at: str) -> str:
    """A reason on one line. Raises AskedError where it is too long or holds control characters."""
    line = " ".join(text.split())
    if len(line) > DETAIL_MAX:
        raise AskedError(f"has {len(line)} characters (allowed: up to {DETAIL_MAX})", argument=at)
    if not line.isprintable():
        raise AskedError("holds characters that cannot be printed", argument=at)
    return line


def amount_of(value: float, metric: LoadMetric, at: str) -> float:
    """A measured value in its metric's range. Raises AskedError."""
    if metric is LoadMetric.UTILISATION and value > UTILISATION_MAX:
        raise AskedError(
            f"{value:g} is not a share of capacity; did you mean {value / 100:g}? (allowed: 0 to {UTILISATION_MAX:g}; "
            "1 is all of it)",
            argument=at,
        )
    return value


def load_subject(text: str, at: str, known: Container[str] | None) -> str:
    """A subject as deployments spell it. Raises AskedError for what is none, or not in `known`."""
    try:
        subject = Subject.parse(text)
    except ValueError:
        subject = None
    if subject is None or subject.kind not in {"region", "instance"}:
        raise AskedError(f"{shown(text)} is not a subject (allowed: {LOAD_SUBJECTS})", argument=at)
    if known is not None and str(subject) not in known:
        raise AskedError(f"there is no {subject.kind} {shown(subject.name)}", argument=at)
    return str(subject)


def shown(text: str) -> str:
    """A text as messages repeat it."""
    return repr(text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}...")


# The entries of documents.


def _health(entry: dict[str, object], at: str, checks: Mapping[Target, Check], at_s: float) -> PushedHealth:
    _only(entry, ("check", "address", "health", "detail", "ttl"), at)
    check, text = _text(entry, "check", at), _text(entry, "address", at)
    try:
        address = ip_address(text)
    except ValueError:
        raise AskedError(f"{shown(text)} is not an IP address", argument=f"{at}address") from None
    target = target_of(check, address, checks, (f"{at}check", f"{at}address"))
    word = _text(entry, "health", at)
    if word not in WORDS:
        raise AskedError(f"{shown(word)} is not a health (allowed: {', '.join(WORDS)})", argument=f"{at}health")
    ttl_s = None if "ttl" not in entry else _amount(entry["ttl"], f"{at}ttl", "seconds")
    return PushedHealth(
        target=target,
        health=WORDS[word],
        detail=detail_of(_text(entry, "detail", at, default=""), f"{at}detail"),
        ttl_s=ttl_of(ttl_s, checks[target], f"{at}ttl"),
        at_s=at_s,
    )


def _load(entry: dict[str, object], at: str, at_s: float, known: Container[str] | None) -> Iterator[LoadSample]:
    _only(entry, ("subject", *LoadMetric), f"{at}.")
    subject = load_subject(_text(entry, "subject", f"{at}."), f"{at}.subject", known)
    if len(entry) == 1:
        raise AskedError(f"says nothing of {subject} (allowed: {', '.join(LoadMetric)})", argument=at)
    for metric in LoadMetric:
        if metric in entry:
            value = amount_of(_amount(entry[metric], f"{at}.{metric}", "a number"), metric, f"{at}.{metric}")
            yield LoadSample(subject=subject, metric=metric, value=value, at_s=at_s)


def _rtt(entry: dict[str, object], at: str, region: str, at_s: float) -> RttSample:
    _only(entry, ("prefix", "rtt_ms", "count"), f"{at}.")
    rtt_ms = _amount(_there(entry, "rtt_ms", f"{at}."), f"{at}.rtt_ms", "milliseconds")
    if not 0 < rtt_ms <= RTT_MAX_MS:
        raise AskedError(
            f"{rtt_ms:g} ms is out of range (allowed: above 0 and up to {RTT_MAX_MS:g})", argument=f"{at}.rtt_ms"
        )
    count = entry.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= COUNT_MAX:
        raise AskedError(f"is not a number of measurements (allowed: 1 to {COUNT_MAX})", argument=f"{at}.count")
    network = _network(_text(entry, "prefix", f"{at}."), f"{at}.prefix")
    return RttSample(network=network, region=region, rtt_s=rtt_ms / 1000, at_s=at_s, count=count)


def _network(text: str, at: str) -> IPNetwork:
    try:
        network = ip_network(text)
    except ValueError:
        raise AskedError(
            f"{shown(text)} is not a network (allowed: such as 192.0.2.0/24 or 2001:db8::/48, host bits zero)",
            argument=at,
        ) from None
    least = _PREFIX_MIN[network.version]
    if network.prefixlen < least:
        raise AskedError(f"{network} is too large a network (allowed: /{least} and longer)", argument=at)
    return network


# Their parts.


def _mapping(value: object, at: str) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise AskedError("is not an object {...}", argument=at)


def _entries(mapping: dict[str, object], key: str) -> Iterator[tuple[str, object]]:
    """Each entry of a list with its place."""
    listing = _there(mapping, key, "")
    if not isinstance(listing, list):
        raise AskedError("is not a list [...]", argument=key)
    if not 1 <= len(listing) <= ENTRIES_MAX:
        raise AskedError(f"has {len(listing)} entries (allowed: 1 to {ENTRIES_MAX})", argument=key)
    for number, each in enumerate(listing):
        yield f"{key}[{number}]", each


def _only(mapping: dict[str, object], allowed: tuple[str, ...], at: str) -> None:
    for key in mapping:
        if key not in allowed:
            raise AskedError(f"there is no such key (allowed: {', '.join(allowed)})", argument=f"{at}{key[:SHOWN_MAX]}")


def _there(mapping: dict[str, object], key: str, at: str) -> object:
    if key not in mapping:
        raise AskedError("is missing", argument=f"{at}{key}")
    return mapping[key]


def _text(mapping: dict[str, object], key: str, at: str, *, default: str | None = None) -> str:
    value = mapping.get(key, default) if default is not None else _there(mapping, key, at)
    if isinstance(value, str):
        return value
    raise AskedError("is not text", argument=f"{at}{key}")


def _amount(value: object, at: str, what: str) -> float:
    # The size is looked at before the conversion: a whole number may be too long for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= AMOUNT_MAX:
        return float(value)
    said = f"{value:g} is" if isinstance(value, float) and math.isfinite(value) else "is"
    raise AskedError(f"{said} not {what} (allowed: a number from 0 to {AMOUNT_MAX:g})", argument=at)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number there")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found
