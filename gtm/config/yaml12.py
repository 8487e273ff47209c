"""A YAML text -> a tree that knows its lines, with the YAML 1.2 core schema (YAML 1.2.2, 10.3).

So `NO` is text (not false), `12:30` is text (not 750), `on` and `off` are text, and a mapping's keys are always text.
Composed from libyaml's events by our own small loop: nothing of what a file says can run code, recurse or multiply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from gtm.config.syntax import plain_words
from gtm.model.errors import ConfigError

DEPTH_MAX = 24
NODES_MAX = 2_000_000  # after aliases are followed; about 200 MB as Python objects

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is 20 times faster; both give the same events

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL = re.compile(r"0o[0-7]{1,20}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?")
_WORDS: Mapping[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value: text, number, truth value or nothing."""

    value: str | int | float | bool | None
    line: int
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list; each item with its position in the file's own list (some may have been pruned away)."""

    items: tuple[tuple[int, Node], ...]
    line: int
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A mapping in file order: key -> (line of the key, value)."""

    items: Mapping[str, tuple[int, Node]]
    line: int
    size: int = 1


Node = Scalar | Listing | Keyed


@dataclass(slots=True)
class _Composer:
    """The state of one composition: the events left, what anchors name, and the faults met on the way."""

    file: str
    events: Iterator[yaml.Event]
    anchors: dict[str, Node] = field(default_factory=dict)
    faults: list[ConfigError] = field(default_factory=list)
    nodes: int = 0

    def node(self, event: yaml.Event, path: str, depth: int) -> Node:
        """The node that starts with `event`. Raises ConfigError where going on makes no sense."""
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), line)
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise ConfigError("has no value where one should be", file=self.file, line=line, key=path or None)
        if event.tag is not None:
            self.fault("tags are not allowed", line, path, "plain YAML without !tags")
        if depth > DEPTH_MAX:
            raise ConfigError("is nested too deep", file=self.file, line=line, allowed=f"up to {DEPTH_MAX} levels")
        self.count(1, line)
        match event:
            case yaml.ScalarEvent():
                made: Node = Scalar(value=resolve(event.value) if event.implicit[0] else event.value, line=line)
            case yaml.SequenceStartEvent():
                made = self.sequence(line, path, depth)
            case _:
                made = self.mapping(line, path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = made
        return made

    def alias(self, anchor: str, line: int) -> Node:
        """The node an alias stands for; it counts in full each time, so that copies of copies stay bounded."""
        named = self.anchors.get(anchor)
        if named is None:
            raise ConfigError(f"*{anchor[:64]} refers to no earlier &{anchor[:64]}", file=self.file, line=line)
        self.count(named.size, line)
        return named

    def sequence(self, line: int, path: str, depth: int) -> Listing:
        """The list whose start was just read."""
        before = self.nodes
        items: list[tuple[int, Node]] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            position = len(items)
            items.append((position, self.node(event, f"{path}[{position}]", depth + 1)))
        return Listing(items=tuple(items), line=line, size=self.nodes - before + 1)

    def mapping(self, line: int, path: str, depth: int) -> Keyed:
        """The mapping whose start was just read. A key given twice is a fault; the first one counts."""
        before = self.nodes
        items: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key, key_line = self.key(event, path)
            inside = f"{path}.{key}" if path else key
            value = self.node(next(self.events), inside, depth + 1)
            if key == "<<":
                self.fault("merge keys (<<) are not allowed", key_line, path, "anchors and aliases of whole values")
            elif key in items:
                self.fault(f"is given twice, on line {items[key][0]} and on line {key_line}", key_line, inside, "once")
            else:
                items[key] = (key_line, value)
        return Keyed(items=items, line=line, size=self.nodes - before + 1)

    def key(self, event: yaml.Event, path: str) -> tuple[str, int]:
        """A mapping's key, as the text that stands there, and its line."""
        line = _line(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise ConfigError("a key must be plain text", file=self.file, line=line, key=path or None)
        if event.tag is not None:
            self.fault("tags are not allowed", line, path, "plain YAML without !tags")
        self.count(1, line)
        if event.anchor is not None:
            self.anchors[event.anchor] = Scalar(value=event.value, line=line)
        return str(event.value), line

    def count(self, nodes: int, line: int) -> None:
        """Adds to the number of nodes. Raises ConfigError past the limit."""
        self.nodes += nodes
        if self.nodes > NODES_MAX:
            raise ConfigError(
                "holds too many values (aliases count each time)", file=self.file, line=line, allowed=f"{NODES_MAX}"
            )

    def fault(self, message: str, line: int, path: str, allowed: str) -> None:
        """Records a fault and goes on."""
        self.faults.append(ConfigError(message, file=self.file, line=line, key=path or None, allowed=allowed))


def compose(text: str, file: str) -> tuple[Node | None, list[ConfigError]]:
    """The tree of a text with one YAML document, and the faults found on the way; None if it cannot be read at all."""
    composer = _Composer(file=file, events=_events(text))
    try:
        root = _document(composer)
    except ConfigError as error:
        return None, [*composer.faults, error]
    except yaml.YAMLError as error:
        return None, [*composer.faults, plain_words(error, text, file)]
    return root, composer.faults


def _line(event: yaml.Event) -> int:
    """The line, from 1, where an event starts."""
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _events(text: str) -> Iterator[yaml.Event]:
    """The parser's events, without the stream's and the document's start."""
    for event in yaml.parse(text, Loader=_PARSER):
        if not isinstance(event, yaml.StreamStartEvent):
            yield event


def _document(composer: _Composer) -> Node:
    """The only document of the stream. Raises ConfigError if there is none, or another."""
    first = next(composer.events)
    if isinstance(first, yaml.StreamEndEvent):
        raise ConfigError("is empty", file=composer.file, allowed="a mapping (key: value), or no such file at all")
    root = composer.node(next(composer.events), "", 0)
    next(composer.events)  # the document's end
    after = next(composer.events)
    if not isinstance(after, yaml.StreamEndEvent):
        raise ConfigError(
            "a second document starts here", file=composer.file, line=_line(after), allowed="one document a file"
        )
    return root


def resolve(text: str) -> str | int | float | bool | None:
    """What a plain scalar stands for in the YAML 1.2 core schema; numbers too long to be meant stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def plain(node: Node) -> object:
    """The tree as dicts, tuples and scalars."""
    match node:
        case Scalar():
            return node.value
        case Listing():
            return tuple(plain(item) for _, item in node.items)
        case Keyed():
            return {key: plain(value) for key, (_, value) in node.items.items()}
