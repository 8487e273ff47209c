"""The statements of a master file (RFC 1035 section 5.1): one record or directive each, as raw tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gtm.wire.error import WireError

_SPECIAL = re.compile(r'["();\\]')
_TOKEN = re.compile(r'[ \t\r\f\v]+|;.*|(?P<token>[()]|"(?:[^"\\]|\\.)*"|(?:[^ \t\r\f\v;()"\\]|\\.)+)')


class Statement(NamedTuple):
    """The 1-based line it starts on, whether its owner is left out, and its tokens.

    Tokens are as written: quotes and escapes kept, parentheses and comments gone.
    """

    line: int
    blank_owner: bool
    tokens: list[str]


class Unbalanced(NamedTuple):
    """A statement that could not be split into tokens, and why."""

    line: int
    reason: str


def split(text: str) -> Iterator[Statement | Unbalanced]:
    """Every statement of the text in order; one that makes no sense as tokens comes out as Unbalanced."""
    first = 0
    blank_owner = False
    depth = 0
    pending: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not depth:
            if not _SPECIAL.search(line):
                if tokens := line.split():
                    yield Statement(number, line[0] in " \t", tokens)
                continue
            first, blank_owner, pending = number, line[0] in " \t", []
        try:
            depth = _scan(line, depth, pending)
        except WireError as error:
            yield Unbalanced(number, str(error))
            depth, pending = 0, []
            continue
        if not depth and pending:
            yield Statement(first, blank_owner, pending)
    if depth:
        yield Unbalanced(first, "parenthesis is never closed")


def _scan(line: str, depth: int, tokens: list[str]) -> int:
    """The depth of parentheses after the line, whose tokens are appended."""
    position = 0
    while position < len(line):
        match = _TOKEN.match(line, position)
        if match is None:
            what = "quoted string is not closed" if line[position] == '"' else "backslash escapes nothing"
            raise WireError(what)
        position = match.end()
        token = match["token"]
        if token == "(":  # noqa: S105 - a parenthesis, not a password
            depth += 1
        elif token == ")":  # noqa: S105 - as above
            depth -= 1
            if depth < 0:
                raise WireError("closing parenthesis without an opening one")
        elif token:
            tokens.append(token)
    return depth
