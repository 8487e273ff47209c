"""`gtm push`: results from outside, given to the node on this machine through its store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gtm.app.columns import clean, duration
from gtm.app.crew import holder
from gtm.app.folders import state_folder, store_file
from gtm.app.inlet import Wanted, reports
from gtm.app.question import near
from gtm.config.deployment import load
from gtm.config.scalars import Unfit, share
from gtm.model.check import Check, PushProbe, Target
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError
from gtm.model.load import LoadMetric, LoadSample
from gtm.model.push import PushedHealth
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import load_deployment
from gtm.store.inbox import Entry
from gtm.store.store import Store
from gtm.web.document import as_object
from gtm.wire import push

WAIT_S, POLL_S = 3.0, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What was left for the controller: how many results, whether a controller runs, and whether it has taken them."""

    what: str
    subject: str
    values: Mapping[str, float | str]
    controller: bool
    taken: bool


def push_health(folder: Path, *, target: str, health: str, detail: str, ttl_s: float | None) -> Delivered:
    """Leave a result of a push check. Raises AskedError for what makes no sense, StoreError."""
    state = state_folder(folder)
    checks = Wanted.of(_deployment(folder, state)).checks
    found = _target(target, checks)
    result = PushedHealth(
        target=found,
        health=push.WORDS[health],
        detail=push.detail_of(detail, "--detail"),
        ttl_s=push.ttl_of(ttl_s, checks[found], "--ttl"),
        at_s=time.time(),
    )
    said: dict[str, float | str] = {"health": result.health, "detail": result.detail, "ttl_s": result.ttl_s}
    return _deliver(state, "health", str(found), said, [result])


def _target(text: str, checks: Mapping[Target, Check]) -> Target:
    """The target of a push check that CHECK@ADDRESS names. Raises AskedError."""
    check, _, address = text.partition("@")
    try:
        return push.target_of(check, ip_address(address), checks, ("TARGET", "TARGET"))
    except ValueError:
        message = f"{push.shown(text)} is not CHECK@ADDRESS"
    except AskedError as error:
        message = error.message
    pushed = [str(target) for target, one in checks.items() if isinstance(one.probe, PushProbe)]
    raise AskedError(message, argument="TARGET", known=near(text, pushed))


def push_load(folder: Path, *, subject: str, values: Iterable[str]) -> Delivered:
    """Leave load of a subject, each value as METRIC=NUMBER. Raises AskedError, Refused, StoreError."""
    state = state_folder(folder)
    known = reports("load", Wanted.of(_deployment(folder, state)).load)
    try:
        found = push.load_subject(subject, "SUBJECT", known)
    except AskedError as error:
        raise AskedError(error.message, argument="SUBJECT", known=near(subject, sorted(known))) from None
    said: dict[str, float | str] = {}
    for text in values:
        metric, value = _value(text)
        if metric in said:
            raise AskedError(f"{metric} is given twice", argument="VALUE")
        said[metric] = value
    now_s = time.time()
    samples = [
        LoadSample(subject=found, metric=LoadMetric(metric), value=float(value), at_s=now_s)
        for metric, value in said.items()
    ]
    return _deliver(state, "load", found, said, samples)


def _value(text: str) -> tuple[LoadMetric, float]:
    """The metric and value of "requests=1200" or "utilisation=40%". Raises AskedError."""
    key, equals, number = text.partition("=")
    if not equals or key not in frozenset(LoadMetric):
        raise AskedError(
            f"{push.shown(text)} is not METRIC=NUMBER (allowed: {', '.join(f'{one}=' for one in LoadMetric)})",
            argument="VALUE",
            known=near(key, LoadMetric),
        )
    metric = LoadMetric(key)
    try:
        value = share(number) if metric is LoadMetric.UTILISATION and number.endswith("%") else float(number)
    except (Unfit, ValueError):
        value = -1.0
    if not 0 <= value <= push.AMOUNT_MAX:
        also = " or a percentage up to 100%" if metric is LoadMetric.UTILISATION else ""
        raise AskedError(
            f"{push.shown(number)} is not a number of {metric} (allowed: 0 or more{also})", argument="VALUE"
        )
    return metric, push.amount_of(value, metric, "VALUE")


def _deployment(folder: Path, state: Path) -> Deployment:
    """What the node serves; what its files say where it has not run."""
    if (state / TABLES / MANIFEST).exists():
        return load_deployment(state, Manifest.load(state / TABLES))
    return load(folder)


def _deliver(
    state: Path, what: str, subject: str, values: Mapping[str, float | str], entries: Sequence[Entry]
) -> Delivered:
    """Leave entries in the store, and wait a moment for the controller to take them."""
    try:
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise GtmError(f"{state}: {error.strerror}") from error
    with Store(store_file(state)) as store:
        numbers = store.deliver(entries)
        deadline = time.monotonic() + WAIT_S
        while not (taken := store.collected(numbers)) and time.monotonic() < deadline:
            if holder(state, "controller") is None:
                break
            time.sleep(POLL_S)
    return Delivered(
        what=what,
        subject=subject,
        values=values,
        controller=holder(state, "controller") is not None,
        taken=taken,
    )


def delivered_document(done: Delivered) -> dict[str, object]:
    """What was told as JSON."""
    return as_object(done)


def delivered_text(done: Delivered) -> str:
    """What was told, and whether the node has taken it."""
    values = ", ".join(_worded(key, value) for key, value in done.values.items() if value != "")
    if done.taken:
        state = "the controller has taken it"
    elif done.controller:
        state = "the controller has not taken it yet; see `gtm status`"
    else:
        state = "no controller runs: one that starts in time takes it"
    return f"{done.subject}: {clean(values)}\n{state}"


def _worded(key: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"for {duration(value)}" if key == "ttl_s" else f"{key} {value:g}"
