"""`gtm check`: everything of a deployment loaded for real, all faults at once, and its tests by the real decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from struct import pack

import dns.rdatatype

from gtm.app.bundle import Bundle, build
from gtm.app.explain import Explained, explained, planned
from gtm.app.folders import cache_folder, state_folder
from gtm.app.question import Question, name_of
from gtm.app.scene import Scene, scene_of_bundle
from gtm.app.whereabouts import parts, whereabouts
from gtm.config.deployment import load
from gtm.config.networks import read_networks
from gtm.config.zones import list_zones
from gtm.decide.choose import Choice, RType, choose
from gtm.decide.plan import decide
from gtm.decide.steer import order_for
from gtm.geo.database import read_database
from gtm.geo.overrides import read_overrides
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, ConfigError, ConfigErrors, GtmError
from gtm.model.expectation import Expectation
from gtm.model.health import Health, Judgement
from gtm.model.name import SteeredName
from gtm.model.place import Locus
from gtm.model.snapshot import Snapshot
from gtm.web.document import as_object
from gtm.wire import name as wire_name
from gtm.zone.load import load_zones


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A ConfigError's parts."""

    file: str
    line: int | None
    key: str | None
    message: str
    allowed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTest:
    """An `expect:` entry that does not hold: what it wants, what it gets, and the explanation of that."""

    file: str
    line: int
    ask: str
    client: str
    down: tuple[str, ...]
    wanted: str
    got: str
    explanation: Explained | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is of everything; `speakers` and `services` are those of bgp/anycast.yaml.

    `balanced` are the services of dataplane/services.yaml, `backends` theirs.
    """

    zones: int
    names: int
    pools: int
    regions: int
    checks: int
    targets: int
    classes: int
    speakers: int
    services: int
    balanced: int
    backends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome: `ok` if there is neither a fault nor a failed test. `counts` is None where files are faulty."""

    ok: bool
    folder: str
    errors: tuple[Fault, ...]
    warnings: tuple[str, ...] = ()
    tests_passed: int = 0
    tests_failed: tuple[FailedTest, ...] = ()
    counts: Counts | None = None


def check(folder: Path) -> Report:
    """The report on a deployment folder. Raises GtmError only where there is no such folder."""
    cache = cache_folder(state_folder(folder))
    try:
        bundle = build(folder, cache)
    except ConfigErrors as error:
        return _faulty(folder, error.errors)
    except ConfigError as error:
        return _faulty(folder, (error,))
    if faults := tuple(_listed(bundle.deployment)):
        return _faulty(folder, faults)
    scene = all_up(scene_of_bundle(bundle, cache))
    failed = tuple(failed_tests(scene, bundle.deployment.expectations))
    return Report(
        ok=not failed,
        folder=str(folder),
        errors=(),
        warnings=bundle.warnings,
        tests_passed=len(bundle.deployment.expectations) - len(failed),
        tests_failed=failed,
        counts=_counts(bundle),
    )


def check_document(report: Report) -> dict[str, object]:
    """The report as JSON."""
    return as_object(report)


def _counts(bundle: Bundle) -> Counts:
    deployment = bundle.deployment
    balanced = () if deployment.dataplane is None else tuple(deployment.dataplane.services.values())
    return Counts(
        zones=len(deployment.zone_files),
        names=len(deployment.names),
        pools=len(deployment.pools),
        regions=len(deployment.regions),
        checks=len(deployment.checks),
        targets=len(deployment.targets()),
        classes=len(bundle.classes.loci),
        speakers=0 if deployment.anycast is None else len(deployment.anycast.speakers),
        services=0 if deployment.anycast is None else len(deployment.anycast.services),
        balanced=len(balanced),
        backends=sum(len(service.backends) for service in balanced),
    )


# Faults


def _faulty(folder: Path, found: tuple[ConfigError, ...]) -> Report:
    """The faults that stopped the loading, and those of the parts that it did not come to."""
    faults = ConfigErrors({str(error): error for error in (*found, *_others(folder))}.values())
    return Report(
        ok=False,
        folder=str(folder),
        errors=tuple(
            Fault(file=e.file, line=e.line, key=e.key, message=e.message, allowed=e.allowed) for e in faults.errors
        ),
    )


def _others(folder: Path) -> Iterator[ConfigError]:
    """Faults of zones, overrides and databases, whether or not the rest of the deployment can be read."""
    zones, _ = list_zones(folder, [])
    yield from _errors(lambda: load_zones(zones, folder=str(folder)))
    yield from _errors(lambda: read_overrides(folder / "geodata" / "overrides.csv"))
    try:
        deployment = load(folder)
        yield from _listed(deployment)
        databases = [folder / name for name in deployment.node.geo]
    except GtmError:
        databases = sorted((folder / "geodata").glob("[!.]*.mmdb"))
    for path in databases:
        yield from _errors(partial(read_database, path))


def _listed(deployment: Deployment) -> Iterator[ConfigError]:
    """Faults of the lists that dataplane/services.yaml names: what balances reads them, and nothing else does."""
    if deployment.dataplane is not None:
        protection = deployment.dataplane.protection
        for name in dict.fromkeys((*protection.allow_files, *protection.deny_files)):
            yield from _errors(partial(read_networks, Path(name)))


def _errors(attempt: Callable[[], object]) -> tuple[ConfigError, ...]:
    try:
        attempt()
    except ConfigErrors as error:
        return error.errors
    except ConfigError as error:
        return (error,)
    return ()


# Tests


def all_up(scene: Scene) -> Scene:
    """The scene with every target healthy and nothing ordered: what `expect:` entries are judged in."""
    up = dict.fromkeys(scene.deployment.targets(), Judgement(health=Health.UP))
    snapshot = Snapshot(revision=0, now_s=time.time(), deployment=scene.deployment, judgements=up)
    return replace(scene, decision=decide(snapshot), notes=("Every instance counts as up, as tests have it.",))


def failed_tests(scene: Scene, expectations: tuple[Expectation, ...]) -> Iterator[FailedTest]:
    """Those that do not hold, in file order. A network must be answered alike in all of its parts."""
    answering = _answering(scene)
    for expectation in expectations:
        try:
            outcomes: dict[str, str] = {}
            for client, locus in _clients(scene, expectation):
                outcomes.setdefault(_outcome(scene, expectation, locus, answering), client)
        except AskedError as error:
            yield _failed(expectation, str(error), None)
            continue
        wanted = _wanted(expectation)
        wrong = [outcome for outcome in outcomes if outcome != wanted]
        if wrong:
            got = " and ".join(wrong) + (f" (in parts; {wanted} in others)" if wanted in outcomes else "")
            yield _failed(expectation, got, _explained(scene, expectation, outcomes[wrong[0]]))


def _failed(expectation: Expectation, got: str, explanation: Explained | None) -> FailedTest:
    return FailedTest(
        file=expectation.file,
        line=expectation.line,
        ask=f"{expectation.owner} {expectation.rtype}",
        client=str(expectation.client),
        down=expectation.down,
        wanted=_wanted(expectation),
        got=got,
        explanation=explanation,
    )


def _wanted(expectation: Expectation) -> str:
    return "no data" if expectation.region is None else expectation.region


def _explained(scene: Scene, expectation: Expectation, client: str) -> Explained | None:
    question = Question(name=expectation.owner, rtype=expectation.rtype, client=client, down=expectation.down)
    try:
        return explained(scene, question, scene.decision.snapshot.now_s)
    except AskedError:
        return None


def _clients(scene: Scene, expectation: Expectation) -> Iterator[tuple[str, Locus]]:
    """(a client, its locus): the one that the test names, or one of each class that a network has clients of."""
    client = expectation.client
    if not isinstance(client, IPv4Network | IPv6Network):
        yield str(client), whereabouts(scene, client).locus
        return
    seen: set[int] = set()
    for class_, address in parts(scene.classes, client):
        if class_ not in seen:
            seen.add(class_)
            yield str(address), scene.classes.loci[class_]


def _answering(scene: Scene) -> dict[int, tuple[SteeredName, RType]]:
    """A steered name and type by the number of its set; names that share a set are answered alike."""
    return {
        number: (name, kind)
        for name in scene.deployment.names
        for kind in RType
        if (number := scene.numbers.get(wire_name.parse(name.owner).lower() + pack(">HH", kind, 1))) is not None
    }


def _outcome(
    scene: Scene, expectation: Expectation, locus: Locus, answering: dict[int, tuple[SteeredName, RType]]
) -> str:
    """The region that answers, "no data", or what else is answered."""
    numbers: list[int] = []

    def note(number: int) -> bytes:
        numbers.append(number)
        return b""

    rtype = dns.rdatatype.from_text(expectation.rtype)
    found = scene.authority.lookup(name_of(expectation.owner), int(rtype), note)
    if not numbers:
        return "no data" if found is None or not found.answer else "static records"
    name, kind = answering[numbers[-1]]
    pool = planned(scene, name.pool, expectation.down, scene.decision.snapshot.now_s)
    return _said(choose(name, pool, order_for(name.policy, locus, scene.deployment.regions), kind))


def _said(choice: Choice) -> str:
    if choice.region is not None:
        return choice.region
    return f"addresses of all_down ({', '.join(map(str, choice.fallback))})" if choice.fallback else "no data"
