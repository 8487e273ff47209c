"""$GENERATE, as BIND has it: a template of a record repeated over a range of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gtm.wire.error import WireError

RECORDS_MAX = 65536

_RANGE = re.compile(r"(\d{1,10})-(\d{1,10})(?:/(\d{1,10}))?")
_PLACE = re.compile(r"\\\$|\$\$|\$\{(-?\d{1,10})(?:,(\d{1,3})(?:,([doxXnN]))?)?\}|\$")


def expand(tokens: Sequence[str]) -> Iterator[list[str]]:
    """The tokens of each record that `$GENERATE RANGE OWNER ...` stands for; `tokens` start at RANGE.

    Raises WireError for a bad range or one of more than 65,536 records.
    """
    match = _RANGE.fullmatch(tokens[0]) if tokens else None
    if match is None or len(tokens) < 4:
        raise WireError("$GENERATE wants RANGE OWNER [TTL] [CLASS] TYPE RDATA, where RANGE is START-STOP[/STEP]")
    start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if step == 0 or stop < start or (stop - start) // step >= RECORDS_MAX:
        raise WireError(f"$GENERATE range must count up, by at least 1, over at most {RECORDS_MAX} records")
    for index in range(start, stop + 1, step):
        yield [_fill(token, index) for token in tokens[1:]]


def _fill(token: str, index: int) -> str:
    return _PLACE.sub(lambda match: _number(match, index), token)


def _number(match: re.Match[str], index: int) -> str:
    if match[0] in ("\\$", "$$"):
        return "$"
    value = index + int(match[1] or 0)
    width, base = int(match[2] or 0), match[3] or "d"
    if base in "nN":
        return _nibbles(value, width, base)
    return f"{value:0{width}{base}}"


def _nibbles(value: int, width: int, base: str) -> str:
    digits = f"{value:{'x' if base == 'n' else 'X'}}"
    digits = digits.rjust(max(len(digits), (width + 1) // 2), "0")
    return ".".join(reversed(digits))
