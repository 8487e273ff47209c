"""`gtm announce convert`: what ExaBGP's own healthcheck.py is told, as a service of bgp/anycast.yaml and its check."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import yaml

from gtm.app.announce.convert_notes import Note, notes
from gtm.app.announce.healthcheck import Healthcheck, read_healthcheck
from gtm.config.communities import U32, community, prefix
from gtm.config.scalars import Unfit
from gtm.model.address import IPNetwork
from gtm.model.errors import AskedError
from gtm.web.document import as_object

ADDRESSES_MAX, DEAGGREGATED_MAX = 256, 1000
EXEC_INTERVAL_MIN_S, INTERVAL_MAX_S = 0.5, 3600.0
RUN_MAX, PREPEND_MAX = 1000, 16
ARGUMENT_MAX, ARGUMENTS_MAX = 4096, 64
_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]#~=%!{}\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The equivalent: entries of probes/checks.yaml and of bgp/anycast.yaml, and what has none, with the reason."""

    checks: Mapping[str, object]
    services: Mapping[str, object]
    notes: tuple[Note, ...]


def convert(arguments: Sequence[str]) -> Converted:
    """The equivalent of what the arguments tell healthcheck.py. Raises AskedError, GtmError."""
    told = read_healthcheck(arguments)
    if not told.ips:
        message = "without --ip healthcheck.py announces what it finds on lo; here it must be said"
        raise AskedError(f"{message}: --ip ADDRESS for each that `ip -o address show dev lo` lists", argument="--ip")
    found: list[Note] = list(notes(told))
    ips = _announceable(told, found)
    name = _name(told)
    checks = {} if told.command is None else {name: {"exec": {"run": _argv(told.command, found)}}}
    services: dict[str, object] = {}
    groups = list(_groups(told, ips))
    for number, group in enumerate(groups, 1):
        suffix = "" if len(groups) == 1 else f"-{number}"
        services[f"{name}{suffix}"] = _service(told, name if checks else None, group, found)
    return Converted(checks=checks, services=services, notes=tuple(dict.fromkeys(found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Prefixes that one service can have: one interface, and one step of the metric."""

    prefixes: tuple[IPNetwork, ...]
    interface: str | None
    added: int


def _announceable(told: Healthcheck, found: list[Note]) -> list[tuple[IPNetwork, str | None]]:
    """The prefixes with their interfaces, each once, in healthcheck.py's order; those that gtm refuses become notes."""
    interfaces = dict(told.interfaces)
    ips: dict[IPNetwork, str | None] = {}
    for ip in told.ips:
        try:
            ips[prefix(str(ip))] = interfaces.get(ip)
        except Unfit as unfit:
            found.append(Note(option="ip", message=f"{unfit.message}; it is left out"))
    if told.deaggregate and sum(ip.num_addresses for ip in ips) > DEAGGREGATED_MAX:
        message = f"more than {DEAGGREGATED_MAX} prefixes are not for one service"
        raise AskedError(message, argument="--deaggregate-networks")
    if told.deaggregate:
        ips = {ip_network(address): interface for ip, interface in ips.items() for address in ip}
    if not ips:
        raise AskedError("nothing is left that could be announced", argument="--ip")
    listed = list(ips.items())
    start = told.start_ip % len(listed)
    return listed[start:] + listed[:start]


def _overlap(ips: Sequence[tuple[IPNetwork, object]]) -> bool:
    """Whether one of the prefixes is within another, so that they must stay in one service."""
    return any(
        one.version == other.version and one.overlaps(other)
        for position, (one, _) in enumerate(ips)
        for other, _ in ips[:position]
    )


def _groups(told: Healthcheck, ips: list[tuple[IPNetwork, str | None]]) -> Iterator[_Group]:
    """The prefixes, apart where their interfaces are or, if asked for, their metrics, unless one is within another."""
    if _overlap(ips):
        interface = next((interface for _, interface in ips if interface), None)
        yield _Group(prefixes=tuple(ip for ip, _ in ips), interface=interface, added=0)
        return
    if len(ips) > 1 and told.increase and told.given & {"increase", "start-ip"}:
        for step, (ip, interface) in enumerate(ips):
            yield _Group(prefixes=(ip,), interface=interface, added=step * told.increase)
        return
    for wanted in dict.fromkeys(interface for _, interface in ips):
        yield _Group(prefixes=tuple(ip for ip, each in ips if each == wanted), interface=wanted, added=0)


def _name(told: Healthcheck) -> str:
    """The name of the check and of the service, as files take it."""
    wanted = told.name or told.label or "service"
    found = re.sub(r"[^a-z0-9_-]+", "-", wanted.lower()).strip("-_")[:48].rstrip("-_")
    return found or "service"


def _argv(command: str, found: list[Note]) -> list[str]:
    """The program that is run: itself where no shell is needed, else a shell, which is what healthcheck.py runs."""
    if "{address}" in command:
        found.append(Note(option="command", message="{address} in it stands for the checked address: 127.0.0.1"))
    if len(command) > ARGUMENT_MAX or "\0" in command:
        raise AskedError(f"is longer than {ARGUMENT_MAX} characters: a script is better", argument="--command")
    words = command.split()
    if words and words[0].rpartition("/")[2] in {"curl", "wget"}:
        message = "a check of kind http or https asks the same without starting a program, and may ask more often"
        found.append(Note(option="command", message=message))
    if 0 < len(words) <= ARGUMENTS_MAX and not _SHELL.search(command):
        program = words[0] if words[0].startswith("/") else shutil.which(words[0])
        if program is not None and program.startswith("/"):
            return [program, *words[1:]]
    return ["/bin/sh", "-c", command]


def _service(told: Healthcheck, check: str | None, group: _Group, found: list[Note]) -> dict[str, object]:
    made: dict[str, object] = {"prefixes": [str(ip) for ip in group.prefixes]}
    if check is not None:
        made["local"] = check
    made |= _pace(told, found)
    if told.disable is not None and told.disable.strip() and told.disable.isprintable():
        made["disable"] = told.disable
    made |= _treatments(told, group, found)
    if not told.withdraw_on_down:
        made["withdraw_on_down"] = False
    if told.ip_setup:
        count = sum(ip.num_addresses for ip in group.prefixes)
        if count > ADDRESSES_MAX:
            message = f"it puts {count} addresses on the interface; say which are needed under addresses"
            found.append(Note(option="ip", message=message))
        else:
            made["addresses"] = list(dict.fromkeys(str(address) for ip in group.prefixes for address in ip))
            if group.interface is not None:
                made["interface"] = group.interface
    return made


def _pace(told: Healthcheck, found: list[Note]) -> Iterator[tuple[str, object]]:
    """How often it is checked, where that is not the default, within what gtm allows."""
    interval_s, timeout_s = told.interval_s, float(told.timeout_s)
    if interval_s == 0:
        found.append(Note(option="interval", message="0 ends after the first announcement; gtm goes on checking"))
        interval_s = 5.0
    interval_s = _bounded("interval", interval_s, EXEC_INTERVAL_MIN_S, INTERVAL_MAX_S, found)
    fast_s = _bounded("fast-interval", told.fast_s, EXEC_INTERVAL_MIN_S, INTERVAL_MAX_S, found)
    if fast_s > interval_s:
        if "fast-interval" in told.given:
            found.append(Note(option="fast-interval", message=f"{fast_s:g} is slower than the interval, which is used"))
        fast_s = interval_s
    if timeout_s <= 0:
        found.append(Note(option="timeout", message="0 waits forever; gtm's checks end after 5 seconds then"))
        timeout_s = 5.0
    timeout_s = _bounded("timeout", timeout_s, 1.0, INTERVAL_MAX_S, found)
    for key, value, default in (
        ("rise", int(_bounded("rise", max(told.rise, 1), 1, RUN_MAX, found)), 3),
        ("fall", int(_bounded("fall", max(told.fall, 1), 1, RUN_MAX, found)), 3),
        ("interval", _tidy(interval_s), 5),
        ("fast_interval", _tidy(fast_s), 1),
        ("timeout", _tidy(timeout_s), 5),
    ):
        if value != default:
            yield key, value


def _bounded(option: str, value: float, low: float, high: float, found: list[Note]) -> float:
    """The value, or the nearest one that gtm takes, with a note."""
    if low <= value <= high:
        return value
    found.append(Note(option=option, message=f"{value:g} is out of range: {low:g} to {high:g}"))
    return high if value > high else low  # of NaN the least


def _tidy(value_s: float) -> float | int:
    return int(value_s) if value_s.is_integer() else value_s


def _treatments(told: Healthcheck, group: _Group, found: list[Note]) -> Iterator[tuple[str, object]]:
    """What is told in each state: `base` for what all have in common."""
    base: dict[str, Any] = {}
    if told.local_preference >= 0:
        base["local_pref"] = int(_bounded("local-preference", told.local_preference, 0, U32, found))
    common = [
        *_communities("extended-community", told.extended_community, found),
        *_communities("large-community", told.large_community, found),
    ]
    usual = _communities("community", told.community, found)
    disabled = _communities("disabled-community", told.disabled_community, found)
    if not disabled:
        common = [*usual, *common]
    if common:
        base["communities"] = common
    own = (told.up_as_path, told.down_as_path, told.disabled_as_path)
    if all(path is None for path in own) and (prepend := _prepend("as-path", told.as_path, found)):
        base["prepend"] = prepend
    if base:
        yield "base", base
    for phase, metric, default, path in (
        ("up", told.up_metric, 100, told.up_as_path),
        ("down", told.down_metric, 1000, told.down_as_path),
        ("disabled", told.disabled_metric, 500, told.disabled_as_path),
    ):
        made: dict[str, Any] = {}
        med = int(_bounded(f"{phase}-metric", metric + group.added, 0, U32, found))
        if med != default:
            made["med"] = med
        if any(each is not None for each in own):
            option, effective = ("as-path", told.as_path) if path is None else (f"{phase}-as-path", path)
            if prepend := _prepend(option, effective, found):
                made["prepend"] = prepend
        if disabled and (chosen := usual if phase == "up" else disabled):
            made["communities"] = chosen
        if made:
            yield phase, made


def _communities(option: str, text: str | None, found: list[Note]) -> list[str]:
    """The communities of an option, as files have them; those that cannot be read become notes."""
    kept = []
    for word in re.split(r"[\s,\[\]]+", text or ""):
        if not word:
            continue
        try:
            community(word)
        except Unfit as unfit:
            found.append(Note(option=option, message=f"{unfit.message}; write it another way"))
        else:
            kept.append(word)
    return kept


def _prepend(option: str, text: str | None, found: list[Note]) -> int:
    """How often the own AS is repeated by a path that is sent as it stands."""
    path = [word for word in re.split(r"[\s,\[\]()]+", text or "") if word]
    if len(set(path)) > 1:
        message = f"the path {' '.join(path)} is of several ASes; gtm sends its own only, repeated by prepend"
        found.append(Note(option=option, message=message))
        return 0
    return int(_bounded(option, max(len(path) - 1, 0), 0, PREPEND_MAX, found))


def converted_document(converted: Converted) -> dict[str, object]:
    """The equivalent as JSON."""
    return as_object(converted)


def converted_text(converted: Converted) -> str:
    """Two fragments of YAML, to be put into their files, and what has no equivalent, as comments below."""
    parts = []
    if converted.checks:
        parts.append(f"# into probes/checks.yaml\n{_dump({'checks': converted.checks})}")
    parts.append(f"# into bgp/anycast.yaml\n{_dump({'services': converted.services})}")
    if converted.notes:
        lines = [f"#   --{note.option}: {note.message}" for note in converted.notes]
        parts.append("\n".join(("# What is otherwise here, or is not there:", *lines)))
    return "\n\n".join(parts)


class _Dumper(yaml.SafeDumper):
    """Lists on one line, mappings on lines of their own, nothing said by reference."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - of no value
        return True


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def _dump(tree: Mapping[str, object]) -> str:
    return yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, width=120, default_flow_style=False).rstrip("\n")
