"""Results of RIPE Atlas pings: one JSON list, or one object per line, as its API gives them.

The form is that of https://atlas.ripe.net/docs/apis/measurement-result-format/, all versions from firmware 1 on: the
address that was pinged is `dst_addr` (before 4460 `addr`), the probe's address as the world sees it is `from`, times
are in milliseconds, and a ping without any reply has -1 in `min`.

A result counts as one sample: the least time of its packets. Three packets are too few for their median to say more
than that, and what a probe's own wireless or a queue adds is no part of the way.
"""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import IO, Any

from gtm.config.scalars import Unfit, shown
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.rtt import RttSample
from gtm.observe.rtt.network import Width, unmapped
from gtm.observe.rtt.readings import RTT_MAX_S, Notes, Scan

ALLOWED = "results of RIPE Atlas pings: a JSON list of objects, or one object per line"
READ_BYTES = 1 << 20
RESULT_MAX_CHARS = 1 << 20  # a ping result has some 500
ADDRESS_MAX_CHARS = 64
ADDRESSES_KEPT = 16_384
BLANKS = " \t\r\n"

NO_PING, NO_REPLY, NO_ADDRESS = "not a ping", "no reply", "no public address"
UNKNOWN, UNTIMED = "destination that is no region's", "no time"

_DECODER = json.JSONDecoder()


def atlas_scan(regions: Mapping[IPAddress, str], now_s: float, width: Width | None = None) -> Scan:
    """A reader of such files. `regions` says which region a pinged address stands for; no result is later than now."""
    reader = _Reader(regions, now_s, width or Width())

    def scan(file: IO[bytes], notes: Notes) -> Iterator[RttSample]:
        for result in results(file, notes):
            if notes.dry:
                continue
            try:
                yield reader.sample(result)
            except _Idle as idle:
                notes.ignore(str(idle))

    return scan


def results(file: IO[bytes], notes: Notes) -> Iterator[dict[str, Any]]:
    """The objects of a file, one after the other; what is not JSON ends the reading, as a fault in the notes."""
    window = _Window(file)
    try:
        in_list = window.next() == "["
        if in_list:
            window.gaps += ","
            window.step()
        while window.next() not in {"", "]" if in_list else ""}:
            value = window.value()
            if not isinstance(value, dict):
                raise Unfit(f"{shown(value)} in place of a result", ALLOWED)
            yield value
        if in_list and not window.next():
            raise Unfit("ends in the middle of the list", ALLOWED)
        if in_list:
            window.gaps = BLANKS
            window.step()
            if window.next():
                raise Unfit("something follows the list", ALLOWED)
    except Unfit as unfit:
        notes.fault(unfit.message, line=window.line, allowed=unfit.allowed)


class _Window:
    """A part of a file that moves along it. Its methods raise Unfit for what is not text or not JSON."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._ended = False
        self.gaps = BLANKS
        self.line = 1

    def next(self) -> str:
        """The next character that is no gap, or nothing at the end."""
        while True:
            while self._at < len(self._text):
                char = self._text[self._at]
                if char not in self.gaps:
                    return char
                self.step()
            if not self._more():
                return ""

    def step(self) -> None:
        """Pass over a character."""
        self._pass(self._at + 1)

    def value(self) -> object:
        """Pass over a JSON value."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at <= RESULT_MAX_CHARS and self._more():
                    continue
                why = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep, or too long a number"
                raise Unfit(f"is not JSON: {why}", ALLOWED) from None
            self._pass(end)
            return value

    def _pass(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Read on; whether there is more."""
        if self._ended:
            return False
        raw = self._file.read(READ_BYTES)
        self._ended = not raw
        try:
            read = self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError:
            raise Unfit("is not UTF-8", ALLOWED) from None
        self._text = self._text[self._at :] + read
        self._at = 0
        return True


class _Idle(Exception):
    """A result that tells nothing: why."""


class _Reader:
    """Results to samples. Addresses come again and again: what they mean is worked out once."""

    def __init__(self, regions: Mapping[IPAddress, str], now_s: float, width: Width) -> None:
        self._regions = regions
        self._now_s = now_s
        self._width = width
        self._region = lru_cache(ADDRESSES_KEPT)(self._region_of)
        self._network = lru_cache(ADDRESSES_KEPT)(self._network_of)

    def sample(self, result: dict[str, Any]) -> RttSample:
        """The sample that a result is. Raises _Idle if it is none."""
        if result.get("type", "ping") != "ping":
            raise _Idle(NO_PING)
        region = self._region(_text(result.get("dst_addr", result.get("addr"))))
        if region is None:
            raise _Idle(UNKNOWN)
        network = self._network(_text(result.get("from") or result.get("src_addr") or result.get("srcaddr")))
        if network is None:
            raise _Idle(NO_ADDRESS)
        rtt_s = _least_s(result)
        if rtt_s is None:
            raise _Idle(NO_REPLY)
        at_s = _number(result.get("timestamp"))
        if at_s is None or at_s <= 0:
            raise _Idle(UNTIMED)
        return RttSample(network=network, region=region, rtt_s=rtt_s, at_s=min(at_s, self._now_s))

    def _region_of(self, text: str) -> str | None:
        address = _address(text)
        return None if address is None else self._regions.get(address)

    def _network_of(self, text: str) -> IPNetwork | None:
        address = _address(text)
        return self._width.network(address) if address is not None and address.is_global else None


def _least_s(result: dict[str, Any]) -> float | None:
    """The least time of the packets; duplicates are no measurement."""
    packets = result.get("result")
    times = [
        number
        for packet in (packets if isinstance(packets, list) else ())
        if isinstance(packet, dict) and not packet.get("dup") and (number := _number(packet.get("rtt"))) is not None
    ]
    if not times and (least := _number(result.get("min"))) is not None:
        times = [least]
    possible = [time for time in times if 0 < time <= RTT_MAX_S * 1e3]
    return min(possible) / 1e3 if possible else None


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18:
        return float(value)
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= ADDRESS_MAX_CHARS else ""


def _address(text: str) -> IPAddress | None:
    try:
        return unmapped(ip_address(text.partition("%")[0]).packed)
    except ValueError:
        return None
