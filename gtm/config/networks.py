"""Lists of networks that others write: one a line, for `allow_files` and `deny_files` of dataplane/services.yaml."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from gtm.config.scalars import Unfit, network
from gtm.config.source import read
from gtm.model.address import IPNetwork
from gtm.model.errors import ConfigError, ConfigErrors

FAULTS_MAX = 20  # a file of another format is wrong in every line


def read_networks(path: Path) -> tuple[IPNetwork, ...]:
    """The networks of a file, in its order, each once; an address alone is a network of one.

    `#` and `;` begin comments. 100,000 lines take about a second. Raises ConfigErrors with the lines that are no
    networks, or where there is no such file.
    """
    text = read(path)
    if text is None:
        raise ConfigErrors([ConfigError("there is no such file", file=str(path), allowed="one network a line")])
    found: dict[IPNetwork, None] = {}
    faults: list[ConfigError] = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].partition(";")[0].strip()
        if not word:
            continue
        try:
            found[ip_network(word)] = None
            continue
        except ValueError:
            pass
        try:
            network(word)
        except Unfit as unfit:
            faults.append(ConfigError(unfit.message, file=str(path), line=number, allowed=unfit.allowed))
            if len(faults) == FAULTS_MAX:
                break
    if faults:
        raise ConfigErrors(faults)
    return tuple(found)
