"""probes/checks.yaml -> checks."""

from __future__ import annotations

from pathlib import Path

from gtm.config.build.composed import build_term, check_terms
from gtm.config.build.probes import build_probe, check_probe
from gtm.config.document import Document
from gtm.config.nearby import listed
from gtm.config.shape.checks import ChecksFile, CheckShape
from gtm.model.check import Cadence, Check, Composed, Degraded

ASKED = ("http", "https", "tcp", "tls", "dns", "icmp", "grpc", "udp", "exec", "file")
COMPOSED = ("all", "any", "not", "at_least")
KINDS = (*ASKED, "push", *COMPOSED)
EXEC_INTERVAL_MIN_S = 1.0

_PACE = ("interval", "fast", "idle", "timeout", "jitter", "vantages")
_VERDICT = ("fall", "rise", "degraded", "quorum")
_KNOWN = frozenset((*KINDS, *_PACE, *_VERDICT))


def build_checks(document: Document | None, folder: Path) -> dict[str, Check]:
    """The checks by name."""
    found = document.validate(ChecksFile) if document is not None else None
    if document is None or found is None:
        return {}
    checks: dict[str, Check] = {}
    for name, shape in found.checks.items():
        written = document.written("checks", name)
        kinds = [kind for kind in written if kind in KINDS]
        if not kinds and not _KNOWN.issuperset(written):
            continue  # what it was meant to probe is an unknown key, and that is said already
        if len(kinds) != 1:
            words = f"has {' and '.join(kinds) or 'nothing to probe'}"
            document.fault(("checks", name), words, f"one of {listed(KINDS, limit=len(KINDS))}")
        elif shape_of(shape, kinds[0]) is not None:
            _check(document, name, kinds[0], shape, folder)
            checks[name] = build_check(name, kinds[0], shape, folder)
    check_terms(document, found, checks)
    return checks


def shape_of(shape: CheckShape, kind: str) -> object:
    """What stands under the key of a kind."""
    return getattr(shape, f"{kind}_" if kind in {"all", "any", "not"} else kind)


def build_check(name: str, kind: str, shape: CheckShape, folder: Path) -> Check:
    """One check of a shape that has exactly one kind; files are looked for in the folder."""
    if kind in COMPOSED:
        return Check(name=name, probe=Composed(term=build_term(shape)))
    return Check(
        name=name,
        probe=build_probe(shape, folder),
        cadence=_cadence(shape, pushed=kind == "push"),
        degraded=Degraded(latency_s=shape.degraded.latency, errors=shape.degraded.errors, window=shape.degraded.over),
        quorum=shape.quorum,
        vantages=shape.vantages,
    )


def _cadence(shape: CheckShape, *, pushed: bool) -> Cadence:
    """A pushed result is a verdict already, so one is enough unless the file says otherwise."""
    default_s = min(Cadence().timeout_s, _quickest_s(shape))
    return Cadence(
        interval_s=shape.interval,
        timeout_s=default_s if shape.timeout is None else shape.timeout,
        fall=1 if pushed and "fall" not in shape.model_fields_set else shape.fall,
        rise=1 if pushed and "rise" not in shape.model_fields_set else shape.rise,
        jitter=shape.jitter,
        fast_s=shape.fast,
        idle_s=shape.idle,
    )


def _quickest_s(shape: CheckShape) -> float:
    return shape.interval if shape.fast is None else min(shape.interval, shape.fast)


def _check(document: Document, name: str, kind: str, shape: CheckShape, folder: Path) -> None:
    if kind in COMPOSED:
        for key in (*_PACE, *_VERDICT):
            if key in shape.model_fields_set:
                words = "means nothing for a check that is composed of others"
                document.fault(("checks", name, key), words, "the keys of those checks")
        return
    if kind == "push":
        for key in _PACE:
            if key in shape.model_fields_set:
                words = "means nothing for results that are pushed"
                document.fault(("checks", name, key), words, f"ttl under push, {', '.join(_VERDICT)}")
        return
    _check_pace(document, name, kind, shape)
    check_probe(document, name, shape, folder)


def _check_pace(document: Document, name: str, kind: str, shape: CheckShape) -> None:
    """The timeout fits into fast, fast into the interval, that into idle; and programs are not started too often."""
    quickest_s = _quickest_s(shape)
    if shape.fast is not None and shape.fast > shape.interval:
        words = f"{shape.fast:g}s is longer than the interval"
        document.fault(("checks", name, "fast"), words, f"up to {shape.interval:g}s")
    if shape.idle is not None and shape.idle < shape.interval:
        words = f"{shape.idle:g}s is shorter than the interval"
        document.fault(("checks", name, "idle"), words, f"{shape.interval:g}s or more")
    if shape.timeout is not None and shape.timeout > quickest_s:
        longer_than = "the interval" if quickest_s == shape.interval else "fast, the interval while a state changes"
        words = f"{shape.timeout:g}s is longer than {longer_than}"
        document.fault(("checks", name, "timeout"), words, f"up to {quickest_s:g}s")
    if kind == "exec":
        for key, value_s in (("interval", shape.interval), ("fast", shape.fast)):
            if value_s is not None and value_s < EXEC_INTERVAL_MIN_S:
                words = f"{value_s:g}s is too often to start a program"
                document.fault(("checks", name, key), words, f"{EXEC_INTERVAL_MIN_S:g}s or more")
