"""One file being checked: its tree, the part of it that is sound so far, and where each fault belongs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from gtm.config.known import Known
from gtm.config.shape.base import Shape
from gtm.config.source import read
from gtm.config.words import Fault, in_words
from gtm.config.yaml12 import Keyed, Listing, Node, Scalar, compose, plain
from gtm.model.errors import ConfigError

Step = str | int
Steps = tuple[Step, ...]
KEY_SHOWN_MAX = 80
S = TypeVar("S", bound=Shape)


class Document:
    """A YAML file. `root` is the tree as written; `sound` is what is left of it once broken parts are cut out.

    Steps are keys and positions in the *sound* tree; faults are reported with the positions that the file has.
    """

    def __init__(self, file: str, root: Node | None, faults: list[ConfigError]) -> None:
        self.file = file
        self.root = root
        self.sound = root
        self.faults = faults

    @classmethod
    def open(cls, path: Path) -> Document | None:
        """The document in a file, with the faults of its syntax; None if there is no such file."""
        try:
            text = read(path)
        except ConfigError as error:
            return cls(str(path), None, [error])
        if text is None:
            return None
        root, faults = compose(text, str(path))
        if root is not None and not isinstance(root, Keyed):
            faults.append(ConfigError("is not a mapping", file=str(path), line=root.line, allowed="key: value lines"))
            root = None
        document = cls(str(path), root, faults)
        document.refuse_nothing()
        return document

    def fault(self, steps: Steps, message: str, allowed: str | None = None) -> None:
        """Records a fault at a place of the sound tree."""
        _, key, line = resolve(self.sound, steps)
        self.faults.append(ConfigError(message, file=self.file, line=line, key=key, allowed=allowed))

    def line(self, steps: Steps) -> int:
        """The line where a place of the sound tree is."""
        return resolve(self.sound, steps)[2]

    def known(self, key: str) -> Known:
        """The names under a top key, as far as they can be told."""
        if not isinstance(self.root, Keyed):
            return Known(complete=False)
        if key not in self.root.items:
            return Known()
        node = self.root.items[key][1]
        return Known(names=tuple(node.items)) if isinstance(node, Keyed) else Known(complete=False)

    def written(self, *steps: Step) -> tuple[str, ...]:
        """The keys of a mapping, broken ones too."""
        node = _twin(self.root, self.sound, steps)[0]
        return tuple(node.items) if isinstance(node, Keyed) else ()

    def intact(self, *steps: Step) -> bool:
        """Whether nothing had to be cut out of what is at a place of the sound tree."""
        here, there = _twin(self.root, self.sound, steps)
        return here is there

    def validate(self, shape: type[S]) -> S | None:
        """The sound part of the document in its shape, or None if nothing of it is; faults are recorded."""
        first = True
        while self.sound is not None:
            try:
                return shape.model_validate(plain(self.sound))
            except ValidationError as error:
                faults = in_words(error, shape)
            if first:
                for fault in faults:
                    self.fault(fault.steps, fault.message, fault.allowed)
            self.cut(_part(self.sound, fault, first=first) for fault in faults)
            first = False
        return None

    def refuse_nothing(self) -> None:
        """Faults for keys without a value: in these files nothing means nothing."""
        if self.root is not None:
            empty = list(_empty(self.root, ()))
            for steps in empty:
                self.fault(steps, "has no value", "a value, or leave the key out")
            self.cut(empty)

    def cut(self, parts: Iterable[Steps]) -> None:
        """Takes parts out of the sound tree."""
        parts = set(parts)
        self.sound = None if () in parts or self.sound is None else cut(self.sound, parts)


def _twin(root: Node | None, sound: Node | None, steps: Steps) -> tuple[Node | None, Node | None]:
    """What is at a place of the sound tree, as written and as left; None where there is nothing."""
    for step in steps:
        if isinstance(sound, Listing) and isinstance(root, Listing) and isinstance(step, int):
            original, sound = sound.items[step]
            root = dict(root.items)[original]
        elif isinstance(step, str):
            root = root.items[step][1] if isinstance(root, Keyed) and step in root.items else None
            sound = sound.items[step][1] if isinstance(sound, Keyed) and step in sound.items else None
    return root, sound


def resolve(root: Node | None, steps: Steps) -> tuple[Steps, str | None, int]:
    """The steps that exist, how the file would write them (with those that do not: as a missing key), and the line.

    A position in something that is no list is skipped: one item may stand for a list of one.
    """
    taken: list[Step] = []
    key, line, node = "", 1 if root is None else root.line, root
    for position, step in enumerate(steps):
        if isinstance(node, Keyed) and step in node.items:
            line, node = node.items[str(step)]
            key = _under(key, step)
        elif isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
            original, node = node.items[step]
            key, line = f"{key}[{original}]", node.line
        elif isinstance(step, int):
            continue
        else:
            if isinstance(node, Keyed) and position == len(steps) - 1:
                key = _under(key, step)
            break
        taken.append(step)
    return tuple(taken), key or None, line


def _under(key: str, step: Step) -> str:
    """A key path one key longer; keys that are far too long are shown in part."""
    shown = str(step) if len(str(step)) <= KEY_SHOWN_MAX else f"{str(step)[:KEY_SHOWN_MAX]}..."
    return f"{key}.{shown}" if key else shown


def cut(node: Node, parts: set[Steps]) -> Node:
    """The tree without the given parts; subtrees that lose nothing stay the same objects."""
    if not parts or isinstance(node, Scalar):
        return node
    below: dict[Step, set[Steps]] = {}
    for part in parts:
        below.setdefault(part[0], set()).add(part[1:])
    if isinstance(node, Keyed):
        kept = {
            key: (line, cut(value, below.get(key, set())))
            for key, (line, value) in node.items.items()
            if () not in below.get(key, set())
        }
        return Keyed(items=kept, line=node.line, size=node.size)
    items = tuple(
        (original, cut(item, below.get(position, set())))
        for position, (original, item) in enumerate(node.items)
        if () not in below.get(position, set())
    )
    return Listing(items=items, line=node.line, size=node.size)


def _part(root: Node, fault: Fault, *, first: bool) -> Steps:
    """What to cut out for a fault: the item of a list that it lies in, else the key it is about.

    Later rounds see only what earlier cuts left incomplete; then that goes.
    """
    steps = resolve(root, fault.steps)[0]
    if not first or fault.unknown:
        return steps
    position = next((n for n, step in enumerate(steps) if isinstance(step, int)), None)
    return steps if position is None else steps[: position + 1]


def _empty(node: Node, steps: Steps) -> Iterator[Steps]:
    """The places below a node that have no value."""
    match node:
        case Scalar():
            if node.value is None:
                yield steps
        case Listing():
            for position, (_, item) in enumerate(node.items):
                yield from _empty(item, (*steps, position))
        case Keyed():
            for key, (_, value) in node.items.items():
                yield from _empty(value, (*steps, key))
