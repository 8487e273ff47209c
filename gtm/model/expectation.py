"""A test that lives beside what it tests: who asks what, and which region must answer."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.address import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One `expect:` entry: a question, a client (address, network, or a country or subdivision code), and the outcome.

    `down` are regions taken to be wholly down. `region` is the region that must answer; None expects no data.
    """

    owner: str
    rtype: str
    client: IPAddress | IPNetwork | str
    region: str | None
    down: tuple[str, ...]
    file: str
    line: int
