"""What a YAML parser objects to, in words for people who do not know its grammar."""

from __future__ import annotations

import yaml

from gtm.model.errors import ConfigError

# A part of the parser's phrase -> what a person should look for. First match wins.
_PLAIN = (
    ("mapping values are not allowed", "a second ': ' in one value; put quotes around it, or start a new line"),
    ("could not find expected ':'", "a line without 'key: value'"),
    ("did not find expected ',' or '}'", "a { that is not closed, or a missing comma"),
    ("did not find expected ',' or ']'", "a [ that is not closed, or a missing comma"),
    ("expected ',' or '}'", "a { that is not closed, or a missing comma"),
    ("expected ',' or ']'", "a [ that is not closed, or a missing comma"),
    ("expected key", "a line that is indented unlike its neighbours"),
    ("expected '-' indicator", "a line that is indented unlike its neighbours"),
    ("expected <block end>", "a line that is indented unlike its neighbours"),
    ("unexpected end of stream", "a quote that is not closed"),
    ("found undefined tag handle", "a !tag; tags are not allowed"),
    ("cannot start any token", "a character that cannot stand here without quotes"),
    ("block sequence entries are not allowed", "a '- ' in a place where a list cannot start"),
    ("unknown escape", 'a backslash in "double quotes" that YAML does not know; use single quotes'),
)


def plain_words(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    """The parser's complaint about `text` as a ConfigError with line and a plain cause."""
    problem = str(getattr(error, "problem", None) or error).split("\n")[0]
    context = str(getattr(error, "context", None) or "")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = None if mark is None else mark.line + 1
    lines = text.splitlines()
    there = lines[line - 1] if line is not None and line <= len(lines) else ""
    before = there[: mark.column + 1] if mark is not None else ""
    if "\t" in before and not before.strip():
        return ConfigError("a tab in the indentation", file=file, line=line, allowed="spaces")
    if "[::" in there or "]:" in there:
        cause = 'perhaps an IPv6 address and port without quotes; write "[::1]:5300"'
        return ConfigError(f"is not YAML: {cause}", file=file, line=line)
    cause = next((words for part, words in _PLAIN if part in problem), problem)
    if cause == problem and context:
        cause = f"{problem} {context}"
    return ConfigError(f"is not YAML: {cause}", file=file, line=line)
