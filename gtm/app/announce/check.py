"""`gtm announce check`: what is declared, what ExaBGP says of it, and whether gtm could work under that ExaBGP."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gtm.app.announce import exabgp
from gtm.app.announce.account import Account, first_barred, may_set_addresses
from gtm.app.announce.render import announcer, read_keys
from gtm.app.announce.speaker import Announcing, find_speaker
from gtm.config.deployment import FILES
from gtm.model.anycast import Service, Treatment, WithoutStore
from gtm.model.errors import GtmError
from gtm.model.route import Family
from gtm.publish.bgp.exabgp_conf import render_exabgp
from gtm.web.document import as_object

LONGEST = {Family.IPV4: 24, Family.IPV6: 48}  # that networks of the Internet usually take
MAJOR, OLD = 5, (4, 2)


class Severity(StrEnum):
    """How bad it is: an error keeps announcements from working, a warning may be meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong or may be: about what, what it is, and what helps."""

    severity: Severity
    about: str
    message: str
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The outcome for a speaker: `exabgp` is the version that was asked, `account` who gtm would be (None: unknown)."""

    node: str
    region: str
    services: tuple[str, ...]
    neighbours: tuple[str, ...]
    ok: bool
    exabgp: str | None
    account: str | None
    findings: tuple[Finding, ...]


def check(folder: Path, *, node: str | None = None, conf: Path | None = None, program: str | None = None) -> Inspected:
    """Check a speaker, this node's by default. Raises ConfigErrors for what is declared wrongly, AskedError, GtmError.

    `conf` is the configuration that ExaBGP runs with, to be compared; `program` an ExaBGP elsewhere.
    """
    found = find_speaker(folder, node)
    findings = [*_declared(found)]
    text, faults = _rendered(found, folder)
    findings += faults
    if conf is not None and text is not None:
        there, compared = _compared(conf, text)
        findings += compared
        text = text if there is None else there
    asked = exabgp.find_exabgp(program)
    version, account = None, None
    if asked is None:
        advice = "pip install 'gtm[bgp]' puts it beside gtm; --exabgp PROGRAM names one that is elsewhere"
        findings.append(_warning("ExaBGP", "there is none here, so the configuration was not given to it", advice))
    else:
        numbers = exabgp.version(asked)
        version = None if numbers is None else ".".join(map(str, numbers))
        findings += _known(asked, numbers)
        if numbers is not None and numbers[0] == MAJOR:
            if text is not None and (lines := exabgp.objections(asked, text)):
                findings.append(_error("ExaBGP", "; ".join(lines)))
            settings = exabgp.settings(asked)
            account = Account.own().name if Account.own().uid else settings.get("daemon.user", "nobody")
            findings += _environment(settings)
            if node is None or node == found.deployment.node.name:
                findings += _rights(found, folder, account)
    return Inspected(
        node=found.speaker.node,
        region=found.speaker.region,
        services=tuple(service.name for service in found.anycast.served_by(found.speaker)),
        neighbours=tuple(f"{each.name} {each.address} AS{each.asn}" for each in found.speaker.neighbours),
        ok=not any(each.severity is Severity.ERROR for each in findings),
        exabgp=version,
        account=account,
        findings=tuple(findings),
    )


def _error(about: str, message: str, advice: str | None = None) -> Finding:
    return Finding(severity=Severity.ERROR, about=about, message=message, advice=advice)


def _warning(about: str, message: str, advice: str | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, about=about, message=message, advice=advice)


def _declared(found: Announcing) -> Iterator[Finding]:
    """What is allowed, but seldom meant."""
    services = found.anycast.served_by(found.speaker)
    if not services:
        yield _warning(found.speaker.node, f"no service may be announced in {found.speaker.region}")
    for service in services:
        yield from _meant(found, service)
    regions = {speaker.region for speaker in found.anycast.speakers.values()}
    if found.deployment.node.cluster is None and len(regions) > 1:
        if found.anycast.guard.without_store is WithoutStore.HOLD:
            words = "regions share no store, so no PoP is withdrawn by itself: one that is DOWN will be HELD"
            yield _warning("guard", words, "state: etcd in gtm.yaml of all nodes, or without_store: withdraw")
        else:
            words = "regions share no store: all PoPs may be withdrawn at once if all of them fail"
            yield _warning("guard", words, "state: etcd in gtm.yaml of all nodes")
    if found.anycast.guard.vrps is not None and not Path(found.anycast.guard.vrps).is_file():
        yield _error("guard", f"there is no file {found.anycast.guard.vrps}", "a validator's JSON export")


def _meant(found: Announcing, service: Service) -> Iterator[Finding]:
    if not service.local and service.pool is None:
        words = "nothing is checked: it is announced whatever happens"
        yield _warning(service.name, words, "local: CHECK, pool: ZONE/POOL, or both")
    outside = [each for each in found.speaker.neighbours if each.asn != each.local_asn]
    for prefix in service.prefixes:
        if outside and prefix.prefixlen > (longest := LONGEST[Family.of(prefix)]):
            yield _warning(service.name, f"{prefix}: most networks take nothing longer than /{longest}")
    if len(outside) == len(found.speaker.neighbours) and any(each.local_pref is not None for each in _of(service)):
        words = "local_pref is not told to neighbours of another AS (RFC 4271 5.1.5), and all are"
        yield _warning(service.name, words, "med, prepend, or a word of the provider")


def _of(service: Service) -> tuple[Treatment, ...]:
    return service.base, *service.treatments.values(), *service.providers.values()


def _rendered(found: Announcing, folder: Path) -> tuple[str | None, list[Finding]]:
    """The configuration, with keys as far as they can be read; and what keeps it from being whole."""
    faults: list[Finding] = []
    try:
        secrets = read_keys(found.speaker)
    except GtmError as error:
        secrets = {}
        faults.append(_error("md5_file", str(error), "run this as root, or on the speaker"))
    try:
        return render_exabgp(found.anycast, found.speaker, command=announcer(folder), secrets=secrets), faults
    except ValueError as error:
        return None, [*faults, _error("exabgp.conf", str(error))]


def _compared(conf: Path, text: str) -> tuple[str | None, list[Finding]]:
    """The file that ExaBGP runs with, and whether it is what would be rendered, but for the program that it starts."""
    try:
        there, mode = conf.read_text(encoding="utf-8", errors="replace"), conf.stat().st_mode
    except OSError as error:
        return None, [_error(str(conf), f"cannot be read: {error.strerror}")]
    found = []
    if _without_run(there) != _without_run(text):
        advice = f"gtm announce render --out {conf}, and restart ExaBGP"
        found.append(_warning(str(conf), "is not what would be rendered now", advice))
    if "md5-password" in there and mode & 0o077:
        words = f"holds keys, and others can read it (mode {mode & 0o777:04o})"
        found.append(_error(str(conf), words, f"chmod 600 {conf}"))
    return there, found


def _without_run(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("run ")]


def _known(program: str, numbers: tuple[int, int, int] | None) -> Iterator[Finding]:
    """Whether gtm knows how to talk to this ExaBGP."""
    shown = "one that does not say its version" if numbers is None else ".".join(map(str, numbers))
    if numbers is not None and numbers[:2] == OLD:
        words = f"{program} is {shown}, which has nothing to check a configuration or its settings with"
        yield _warning("ExaBGP", words, "ExaBGP 5.0")
    elif numbers is None or numbers[0] != MAJOR:
        yield _error("ExaBGP", f"{program} is {shown}", "ExaBGP 5.0 (or 4.2)")


def _environment(settings: Mapping[str, str]) -> Iterator[Finding]:
    """Settings of ExaBGP under which gtm cannot work, or not as one would think."""
    wanted = {
        ("api.ack", "false"): "it would not say whether it took a command",
        ("api.respawn", "false"): "it would not start gtm again, and announcements would stay",
        ("tcp.once", "true"): "it would try each neighbour once only",
    }
    for (key, value), words in wanted.items():
        if settings.get(key, "").lower() == value:
            yield _error(
                f"exabgp.{key}", f"is {value}: {words}", f"exabgp.{key}={'false' if value == 'true' else 'true'}"
            )
    if settings.get("tcp.attempts", "0") != "0":
        words = f"it would give up on a neighbour after {settings['tcp.attempts']} attempts"
        yield _error("exabgp.tcp.attempts", words, "exabgp.tcp.attempts=0")
    if settings.get("api.cli", "").lower() == "true":
        words = "is true: without its named pipes ExaBGP complains at length at every start"
        yield _warning("exabgp.api.cli", words, "exabgp.api.cli=false, as gtm needs none")
    if settings.get("daemon.drop", "").lower() == "false" and settings.get("daemon.user") != "root":
        words = f"is false, which does not keep root: it becomes {settings.get('daemon.user')} all the same"
        yield _warning("exabgp.daemon.drop", words, "exabgp.daemon.user=root, if that is what is meant")


def _rights(found: Announcing, folder: Path, name: str) -> Iterator[Finding]:
    """What the account that gtm will run as must be able to do: started as root, ExaBGP becomes another one first."""
    own = Account.own()
    account = own if own.name == name else Account.find(name)
    if account is None:
        yield _error("exabgp.daemon.user", f"there is no account {name}, and ExaBGP would not start")
        return
    if own.uid and own.name != name:
        return
    dropped = own.uid == 0 and account.uid != 0
    keep = "start ExaBGP with exabgp.daemon.user=root, or as an account of its own" if dropped else None
    read = [Path(sys.executable), *(path for path in map(folder.joinpath, FILES) if path.exists()), folder / "zones"]
    if (barred := first_barred(account, read)) is not None:
        words = f"ExaBGP runs gtm as {name}, which may not read {barred}"
        yield _error("rights", words, keep or f"let {name} read it")
    state = folder / found.deployment.node.state
    if (barred := account.barred(state, write=True)) is not None:
        words = f"ExaBGP runs gtm as {name}, which may not write {barred}: gtm tells there what it announces"
        yield _error("rights", words, keep or f"let {name} write it")
    for service in found.anycast.served_by(found.speaker):
        if not service.addresses:
            continue
        if dropped or (account.uid != 0 and not may_set_addresses()):
            words = f"{service.name} has addresses, which {name} may not put on {service.interface}"
            yield _error("rights", words, keep or "give ExaBGP CAP_NET_ADMIN (systemd: AmbientCapabilities)")
        if not Path("/sys/class/net", service.interface or "lo").exists():
            yield _error(service.name, f"there is no interface {service.interface} on this machine")


def inspected_document(inspected: Inspected) -> dict[str, object]:
    """The outcome as JSON."""
    return as_object(inspected)


def inspected_text(inspected: Inspected) -> str:
    """The outcome as lines, the verdict last."""
    services, neighbours = ", ".join(inspected.services) or "nothing", ", ".join(inspected.neighbours)
    lines = [f"{inspected.node} in {inspected.region}: announces {services} to {neighbours}"]
    for each in inspected.findings:
        advice = f" (do: {each.advice})" if each.advice else ""
        lines.append(f"{each.severity}: {each.about}: {each.message}{advice}")
    errors = sum(each.severity is Severity.ERROR for each in inspected.findings)
    version = "no ExaBGP was asked" if inspected.exabgp is None else f"by ExaBGP {inspected.exabgp}"
    verdict = "ok" if inspected.ok else f"{errors} error{'s' * (errors > 1)}"
    lines.append(f"{verdict}; {version}" + (f", gtm runs as {inspected.account}" if inspected.account else ""))
    return "\n".join(lines)
