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
from gtm.config.communities import community
from gtm.config.scalars import Unfit
from gtm.model.address import IPNetwork
from gtm.model.errors import AskedError
from gtm.web.document import as_object

ADDRESSES_MAX = 256
EXEC_INTERVAL_MIN_S = 0.5
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
    name = _name(told)
    checks = {} if told.command is None else {name: {"exec": {"run": _argv(told.command, found)}}}
    services: dict[str, object] = {}
    groups = list(_groups(told))
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


def _groups(told: Healthcheck) -> Iterator[_Group]:
    """The prefixes in healthcheck.py's order; apart where their interfaces are or, if asked for, their metrics."""
    interfaces = dict(told.interfaces)
    ips: list[tuple[IPNetwork, str | None]] = [(ip, interfaces.get(ip)) for ip in told.ips]
    if told.deaggregate:
        ips = [(ip_network(address), interface) for ip, interface in ips for address in ip]
    start = told.start_ip % len(ips)
    ips = ips[start:] + ips[:start]
    if len(ips) > 1 and told.increase and told.given & {"increase", "start-ip"}:
        for step, (prefix, interface) in enumerate(ips):
            yield _Group(prefixes=(prefix,), interface=interface, added=step * told.increase)
        return
    for wanted in dict.fromkeys(interface for _, interface in ips):
        prefixes = tuple(prefix for prefix, interface in ips if interface == wanted)
        yield _Group(prefixes=prefixes, interface=wanted, added=0)


def _name(told: Healthcheck) -> str:
    """The name of the check and of the service, as files take it."""
    wanted = told.name or told.label or "service"
    found = re.sub(r"[^a-z0-9_-]+", "-", wanted.lower()).strip("-_")[:48].rstrip("-_")
    return found or "service"


def _argv(command: str, found: list[Note]) -> list[str]:
    """The program that is run: itself where no shell is needed, else a shell, which is what healthcheck.py runs."""
    if "{address}" in command:
        found.append(Note(option="command", message="{address} in it stands for the checked address: 127.0.0.1"))
    words = command.split()
    if words and words[0].rpartition("/")[2] in {"curl", "wget"}:
        message = "a check of kind http or https asks the same without starting a program, and may ask more often"
        found.append(Note(option="command", message=message))
    if words and not _SHELL.search(command):
        program = words[0] if words[0].startswith("/") else shutil.which(words[0])
        if program is not None and program.startswith("/"):
            return [program, *words[1:]]
    return ["/bin/sh", "-c", command]


def _service(told: Healthcheck, check: str | None, group: _Group, found: list[Note]) -> dict[str, object]:
    made: dict[str, object] = {"prefixes": [str(prefix) for prefix in group.prefixes]}
    if check is not None:
        made["local"] = check
    made |= _pace(told, found)
    if told.disable is not None:
        made["disable"] = told.disable
    made |= _treatments(told, group, found)
    if not told.withdraw_on_down:
        made["withdraw_on_down"] = False
    if told.ip_setup:
        count = sum(prefix.num_addresses for prefix in group.prefixes)
        if count > ADDRESSES_MAX:
            message = f"it puts {count} addresses on the interface; say which are needed under addresses"
            found.append(Note(option="ip", message=message))
        else:
            made["addresses"] = [str(address) for prefix in group.prefixes for address in prefix]
            if group.interface is not None:
                made["interface"] = group.interface
    return made


def _pace(told: Healthcheck, found: list[Note]) -> Iterator[tuple[str, object]]:
    """How often it is checked, where that is not the default, within what gtm allows."""
    interval_s, fast_s, timeout_s = told.interval_s, told.fast_s, float(told.timeout_s)
    if interval_s <= 0:
        found.append(Note(option="interval", message="0 ends after the first announcement; gtm goes on checking"))
        interval_s = 5.0
    least_s = 0.05 if told.command is None else EXEC_INTERVAL_MIN_S
    for option, value_s in (("interval", interval_s), ("fast-interval", fast_s)):
        if value_s < least_s:
            message = f"{value_s:g} is too often to start a program; {least_s:g} is the least"
            found.append(Note(option=option, message=message))
    interval_s, fast_s = max(interval_s, least_s), max(fast_s, least_s)
    if fast_s > interval_s:
        if "fast-interval" in told.given:
            found.append(Note(option="fast-interval", message=f"{fast_s:g} is slower than the interval, which is used"))
        fast_s = interval_s
    if timeout_s <= 0:
        found.append(Note(option="timeout", message="0 waits forever; gtm's checks end after 5 seconds then"))
        timeout_s = 5.0
    for key, value, default in (
        ("rise", max(told.rise, 1), 3),
        ("fall", max(told.fall, 1), 3),
        ("interval", _tidy(interval_s), 5),
        ("fast_interval", _tidy(fast_s), 1),
        ("timeout", _tidy(timeout_s), 5),
    ):
        if value != default:
            yield key, value


def _tidy(value_s: float) -> float | int:
    return int(value_s) if value_s.is_integer() else value_s


def _treatments(told: Healthcheck, group: _Group, found: list[Note]) -> Iterator[tuple[str, object]]:
    """What is told in each state: `base` for what all have in common."""
    base: dict[str, Any] = {}
    if told.local_preference >= 0:
        base["local_pref"] = told.local_preference
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
        if metric + group.added != default:
            made["med"] = metric + group.added
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
    return max(len(path) - 1, 0)


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
