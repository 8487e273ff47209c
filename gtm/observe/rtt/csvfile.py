"""CSV files of round-trip times: lines of prefix,region,rtt in milliseconds and, if wanted, count.

A first line that begins with the word prefix is a header; empty lines, and what follows a #, are passed over. This is
also the form that `gtm rtt agent` writes.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import IO

from gtm.config.nearby import did_you_mean, listed
from gtm.config.scalars import Unfit, shown
from gtm.model.address import IPNetwork
from gtm.model.rtt import RttSample
from gtm.observe.rtt.readings import RTT_MAX_S, Notes, Scan

LINE_MAX_BYTES = 1000
COUNT_MAX = 1_000_000
LENGTH_MIN = {32: 8, 128: 16}  # no single round-trip time is that of a larger network

LINE = "PREFIX,REGION,MILLISECONDS or PREFIX,REGION,MILLISECONDS,COUNT, such as 192.0.2.0/24,us-east,23.5"
PREFIX = "a network such as 192.0.2.0/24 or 2001:db8::/48, or an address"
RTT = f"milliseconds, above 0, up to {RTT_MAX_S * 1e3:.0f}"

Row = tuple[int, int, bool, str, float, int]  # network as a number, its length, IPv6, region, seconds, count


def csv_scan(at_s: float, regions: Collection[str] | None = None) -> Scan:
    """A reader of such files. `at_s`: when what is in the file was measured, at the latest; lines do not say.

    `regions`: those that may occur; None: any.
    """
    known = None if regions is None else frozenset(regions)

    def scan(file: IO[bytes], notes: Notes) -> Iterator[RttSample]:
        for network, length, six, region, rtt_s, count in rows(file, notes, known):
            if notes.dry:
                continue
            there: IPNetwork = IPv6Network((network, length)) if six else IPv4Network((network, length))
            yield RttSample(network=there, region=region, rtt_s=rtt_s, at_s=at_s, count=count)

    return scan


def rows(file: IO[bytes], notes: Notes, regions: Collection[str] | None = None) -> Iterator[Row]:
    """The rows of a file; faults go into the notes."""
    number = 0
    first = True
    while raw := file.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(raw) > LINE_MAX_BYTES:
            notes.fault(f"a line of more than {LINE_MAX_BYTES} octets", line=number, allowed=LINE)
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_MAX_BYTES)
            continue
        try:
            text = _text(raw, first=number == 1)
            if not text or (first and text.partition(",")[0].strip().lower() == "prefix"):
                first = first and not text
                continue
            first = False
            yield _row(text, regions)
        except Unfit as unfit:
            notes.fault(unfit.message, line=number, allowed=unfit.allowed)


def _text(raw: bytes, *, first: bool) -> str:
    """A line without comment, quotes and surrounding blanks."""
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError:
        raise Unfit("is not UTF-8", LINE) from None
    if "#" in text:
        text = text.partition("#")[0]
    if '"' in text:
        text = text.replace('"', "")
    return text.strip()


def _row(text: str, regions: Collection[str] | None) -> Row:
    cells = text.split(",")
    if not 3 <= len(cells) <= 4:
        raise Unfit(f"{shown(text)} has {len(cells)} fields", LINE)
    network, length, six = _network(cells[0].strip())
    region = cells[1].strip()
    if not region or (regions is not None and region not in regions):
        near = did_you_mean(region, regions or ())
        raise Unfit(f"{shown(region)} is not a region{near}", listed(sorted(regions)) if regions else "a region's name")
    return network, length, six, region, _seconds(cells[2].strip()), _count(cells[3].strip()) if cells[3:] else 1


def _network(text: str) -> tuple[int, int, bool]:
    """A prefix as (number, length, IPv6). Not by the ipaddress module, which takes four times as long."""
    base, slash, length_text = text.partition("/")
    six = ":" in base
    bits = 128 if six else 32
    length = bits
    try:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, base), "big")
        if slash:
            if not (length_text.isascii() and length_text.isdigit()):
                raise Unfit(f"{shown(text)} is not a network", PREFIX)
            length = int(length_text[:4])
    except (OSError, ValueError):
        raise Unfit(f"{shown(text)} is not a network", PREFIX) from None
    if length > bits:
        raise Unfit(f"{shown(text)} is not a network", PREFIX)
    if length < LENGTH_MIN[bits]:
        raise Unfit(f"{shown(text)} is too large a network", f"/{LENGTH_MIN[bits]} and longer")
    if number & ((1 << (bits - length)) - 1):
        raise Unfit(f"{text} has bits set past /{length}; did you mean {ip_network(text, strict=False)}?", PREFIX)
    return number, length, six


def _seconds(text: str) -> float:
    try:
        rtt_s = float(text) / 1e3
    except ValueError:
        rtt_s = 0.0
    if not 0 < rtt_s <= RTT_MAX_S or "_" in text:
        raise Unfit(f"{shown(text)} is not a round-trip time", RTT)
    return rtt_s


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= COUNT_MAX:
        return int(text)
    raise Unfit(f"{shown(text)} is not a number of measurements", f"1 to {COUNT_MAX}")
