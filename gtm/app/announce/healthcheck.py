"""The options of ExaBGP's own healthcheck.py (5.0), read as it reads them: from a command line, or a file."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NoReturn

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import AskedError, GtmError

WORD = "healthcheck"
FILE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """What healthcheck.py was told, with its defaults; `given` are the long options that were given, without dashes."""

    given: frozenset[str]
    name: str | None
    command: str | None
    interval_s: float
    fast_s: float
    timeout_s: int
    rise: int
    fall: int
    disable: str | None
    ips: tuple[IPNetwork, ...]
    interfaces: tuple[tuple[IPNetwork, str], ...]
    next_hop: IPAddress | None
    local_preference: int
    deaggregate: bool
    ip_setup: bool
    ip_dynamic: bool
    label: str | None
    start_ip: int
    up_metric: int
    down_metric: int
    disabled_metric: int
    increase: int
    community: str | None
    extended_community: str | None
    large_community: str | None
    disabled_community: str | None
    as_path: str | None
    up_as_path: str | None
    down_as_path: str | None
    disabled_as_path: str | None
    withdraw_on_down: bool
    path_id: int | None
    neighbors: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AskedError(f"healthcheck.py would not take this: {message}", argument=WORD)


def read_healthcheck(arguments: Sequence[str]) -> Healthcheck:
    """What the arguments tell healthcheck.py, and the file that one of them names.

    Whatever stands before the options is skipped, so that a whole `run` line will do (`python3 -m exabgp healthcheck
    --cmd ...;`); a path alone is the file of --config. Raises AskedError, GtmError if the file cannot be read.
    """
    words = [word.removesuffix(";") if position == len(arguments) - 1 else word
             for position, word in enumerate(arguments)]  # fmt: skip
    if len(words) == 1 and not words[0].startswith("-"):
        words = _split(words[0]) if " " in words[0] and WORD in words[0] else ["--config", words[0]]
    if WORD in words:
        words = words[words.index(WORD) + 1 :]
    parser = _parser()
    found = parser.parse_args(words)
    if found.config is not None:
        words = [*_from_file(Path(found.config)), *words]
        found = parser.parse_args(words)
    ips = tuple(found.ips or ())
    return Healthcheck(
        given=_given(words),
        name=found.name,
        command=found.command,
        interval_s=found.interval,
        fast_s=found.fast,
        timeout_s=found.timeout,
        rise=found.rise,
        fall=found.fall,
        disable=found.disable,
        ips=ips,
        interfaces=tuple(_interface(each, ips) for each in found.ip_ifnames or ()),
        next_hop=found.next_hop,
        local_preference=found.local_preference,
        deaggregate=found.deaggregate_networks,
        ip_setup=found.ip_setup,
        ip_dynamic=found.ip_dynamic,
        label=found.label,
        start_ip=found.start_ip,
        up_metric=found.up_metric,
        down_metric=found.down_metric,
        disabled_metric=found.disabled_metric,
        increase=found.increase,
        community=found.community,
        extended_community=found.extended_community,
        large_community=found.large_community,
        disabled_community=found.disabled_community,
        as_path=found.as_path,
        up_as_path=found.up_as_path,
        down_as_path=found.down_as_path,
        disabled_as_path=found.disabled_as_path,
        withdraw_on_down=found.withdraw_on_down,
        path_id=found.path_id,
        neighbors=tuple(found.neighbors or ()),
    )


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise AskedError(f"{error} in the line", argument=WORD) from error


def _from_file(path: Path) -> list[str]:
    """The options in a file: each line but comments is a long option without its dashes, perhaps `= value`."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(FILE_BYTES_MAX).splitlines()
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    kept = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return [part.strip() for line in kept for part in f"--{line}".split("=", 1)]


def _given(words: Sequence[str]) -> frozenset[str]:
    """The long names of the options that are among the words."""
    parser = _parser()
    names = {}
    for action in parser._actions:
        names[action.dest] = next(name for name in action.option_strings if name.startswith("--"))[2:]
        action.default = argparse.SUPPRESS
    return frozenset(names[dest] for dest in vars(parser.parse_args(list(words))))


def _interface(text: str, ips: tuple[IPNetwork, ...]) -> tuple[IPNetwork, str]:
    address, percent, name = text.partition("%")
    try:
        found = ip_network(address)
    except ValueError:
        found = None
    if not percent or not name or found not in ips or found is None:
        raise AskedError(f"--ip-ifname {text} is not IP%INTERFACE of an IP given by --ip", argument=WORD)
    return found, name


def _neighbor(text: str) -> str:
    return "*" if text.strip() == "*" else str(ip_address(text))


def _parser() -> argparse.ArgumentParser:
    """The options of exabgp/application/healthcheck.py, with their types and defaults."""
    parser = _Parser(add_help=False)
    add = parser.add_argument
    quiet = parser.add_mutually_exclusive_group()
    quiet.add_argument("--silent", "-s", action="store_true")
    quiet.add_argument("--syslog-facility", "-sF", nargs="?", const="daemon", default="daemon")
    quiet.add_argument("--no-syslog", action="store_true")
    for name, short in (("debug", "-d"), ("no-ack", "-a")):
        add(f"--{name}", short, action="store_true")
    for name in ("sudo", "deaggregate-networks", "label-exact-match", "withdraw-on-down", "debounce"):
        add(f"--{name}", action="store_true")
    add("--no-ip-setup", action="store_false", dest="ip_setup")
    add("--dynamic-ip-setup", action="store_true", dest="ip_dynamic")
    for name, short in (("name", "-n"), ("config", "-F"), ("pid", "-p")):
        add(f"--{name}", short)
    for name in ("user", "group", "disable", "label", "community", "extended-community", "large-community"):
        add(f"--{name}")
    for name in ("disabled-community", "as-path", "up-as-path", "down-as-path", "disabled-as-path"):
        add(f"--{name}")
    add("--command", "--cmd", "-c")
    add("--interval", "-i", default=5.0, type=float)
    add("--fast-interval", "-f", default=1.0, type=float, dest="fast")
    add("--timeout", "-t", default=5, type=int)
    for name, default in (("rise", 3), ("fall", 3), ("local-preference", -1), ("start-ip", 0), ("increase", 1)):
        add(f"--{name}", default=default, type=int)
    for name, default in (("up-metric", 100), ("down-metric", 1000), ("disabled-metric", 500)):
        add(f"--{name}", default=default, type=int)
    add("--path-id", type=int)
    add("--next-hop", "-N", type=_address)
    add("--ip", type=_network, dest="ips", action="append")
    add("--ip-ifname", dest="ip_ifnames", action="append")
    add("--neighbor", type=_neighbor, dest="neighbors", action="append")
    for name in ("execute", "up-execute", "down-execute", "disabled-execute"):
        add(f"--{name}", action="append")
    return parser


def _address(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
