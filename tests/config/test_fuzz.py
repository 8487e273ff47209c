"""Wrong deployments made from good ones: whatever is in the files, `load` gives a Deployment or ConfigErrors."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gtm.config.deployment import load
from gtm.config.schema import FILES, render_schemas
from gtm.config.yaml12 import compose, plain
from gtm.model.deployment import Deployment
from gtm.model.errors import ConfigError, ConfigErrors
from tests.config.conforms import objections
from tests.config.folders import GOLDEN, GOOD, read_case, write

TOP = Path(__file__).parents[2]
NAMES = (
    "gtm.yaml",
    "geodata/regions.yaml",
    "probes/checks.yaml",
    "probes/load.yaml",
    "probes/rtt.yaml",
    "bgp/anycast.yaml",
    "dataplane/services.yaml",
    "zones/lb.example.com.yaml",
)
REFERENCE = {name: (TOP / name).read_text(encoding="utf-8") for name in (*NAMES, "zones/lb.example.com.zone")}

WILD = (
    '', '~', 'null', 'true', 'yes', 'NO', '0', '-1', '1e999', '-.inf', '.nan', '0x1F', '0o17', '12:30',
    '99999999999999999999', "''", '"', '[', ']', '{', '}', '[]', '{}', '[[]]', '{a: {b: c}}', '- x', '? x',
    'x: y: z', '&a', '*a', '&a *a', '!!python/name:os.system', '!x 1', '|', '>', '%', '@', '`', '\t', '\x00',
    '\x07', '\u2028', '\ufeff', '\xe9', '\U0001f600', "a" * 5000, '10.0.0.0/8', '::1', '2001:db8::1%eth0', 'AS0',
    'US-', 'continent:', 'continent:EU', 'nearest', '[nearest, us-east]', 'us-east.', 'us-east', '100%', '101%',
    '5 s', '10d', '1..2', '../..', '---', '...', '<<', '(?P<x', "(" * 200, '\\', '#', '$(id)', "'; DROP TABLE",
    'on', 'off', '2026-01-01', '0.0.0.0', '255.255.255.255', '@', '*', '*.x', 'x.*',
)  # fmt: skip
SCHEMAS = {name: json.loads(text) for name, text in render_schemas().items()}
JARGON = re.compile(
    r"pydantic|Input should|Value error|validat|NoneType|does not fit|Traceback|<class|\bdict\b|\btuple\b"
)
TOKEN = re.compile(r"[^\s\[\]{},:#]+")

Edit = Callable[[str, random.Random], str | bytes]


def lines_changed(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = " " * rng.randrange(1, 4) + lines[at]
        case _:
            lines[at] = lines[at].lstrip()
    return "".join(lines)


def token_replaced(text: str, rng: random.Random) -> str:
    found = rng.choice(list(TOKEN.finditer(text)))
    return text[: found.start()] + rng.choice(WILD) + text[found.end() :]


def token_misspelt(text: str, rng: random.Random) -> str:
    found = rng.choice(list(TOKEN.finditer(text)))
    word = list(found.group())
    at = rng.randrange(len(word))
    word[at : at + 1] = rng.choice(([], [word[at]] * 2, [rng.choice("abcxyz019-_. \t%")], [word[at].swapcase()]))
    return text[: found.start()] + "".join(word) + text[found.end() :]


def tokens_swapped(text: str, rng: random.Random) -> str:
    first, second = sorted(rng.sample(list(TOKEN.finditer(text)), 2), key=re.Match.start)
    between = text[first.end() : second.start()]
    return text[: first.start()] + second.group() + between + first.group() + text[second.end() :]


def bytes_put(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data))
        data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(1, 5))
    return bytes(data)


def truncated(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text))]


def nested(text: str, rng: random.Random) -> str:
    depth = rng.choice((5, 20, 30, 1000, 50_000))
    opened, closed = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")))
    found = rng.choice(list(TOKEN.finditer(text)))
    return text[: found.start()] + opened * depth + "1" + closed * depth + text[found.end() :]


def tree_changed(text: str, rng: random.Random) -> str:
    tree = yaml.safe_load(text)
    places = list(containers(tree))
    for _ in range(rng.randrange(1, 4)):
        place = rng.choice(places)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key = rng.choice(keys)
        match rng.randrange(4):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[rng.choice((f"{key}s", "x", "1", 5, "*", f"{key}.lb.example.com."))] = place.pop(key)
            case 2:
                place[key] = rng.choice(
                    (None, True, 5, -1, 2.5, "x", [], {}, [None], {"x": 1}, [[]], "us-east", ["BR"])
                )
            case _:
                place[key] = rng.choice(places)
    return (
        yaml.safe_dump(tree, sort_keys=False) if rng.random() < 0.5 else yaml.safe_dump(tree, default_flow_style=True)
    )


def containers(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from containers(each)


EDITS: tuple[Edit, ...] = (
    lines_changed,
    token_replaced,
    token_misspelt,
    tokens_swapped,
    bytes_put,
    truncated,
    nested,
    tree_changed,
)


def judged(folder: Path, files: Mapping[str, str | bytes]) -> Deployment | ConfigErrors:
    """What loading gives, with every promise about errors checked."""
    try:
        return load(folder)
    except ConfigErrors as raised:
        outcome = raised
    assert outcome.errors
    for error in outcome.errors:
        check_error(error, folder, files)
    return outcome


def check_error(error: ConfigError, folder: Path, files: Mapping[str, str | bytes]) -> None:
    assert error.file.startswith(str(folder))
    assert error.message
    assert not JARGON.search(f"{error.message} {error.allowed}"), error
    assert len(str(error).splitlines()) == 1, error
    assert len(str(error)) < 2500, len(str(error))
    content = files.get(error.file.removeprefix(f"{folder}/"))
    if error.line is not None:
        assert content is not None
        count = (content if isinstance(content, bytes) else content.encode()).count(b"\n")
        assert 1 <= error.line <= count + 2, error


@pytest.mark.parametrize("base", ["small", "reference"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_wrong_deployments_give_errors_and_nothing_else(edit: Edit, base: str, tmp_path: Path) -> None:
    good = dict(GOOD) if base == "small" else REFERENCE
    rng = random.Random(f"{edit.__name__} {base}")
    wrong = 0
    write(tmp_path, good)
    for _ in range(60):
        name = rng.choice(NAMES)
        files = {**good, name: edit(good[name], rng)}
        write(tmp_path, {name: files[name]})
        outcome = judged(tmp_path, files)
        if isinstance(outcome, ConfigErrors):
            wrong += 1
            assert any(error.file for error in outcome.errors)
        else:
            conforms(files)
        write(tmp_path, {name: good[name]})
    assert wrong >= 6, "these edits are meant to do harm"


def conforms(files: Mapping[str, str | bytes]) -> None:
    """Whatever is accepted conforms to the schemas that editors use: no editor marks a good file as wrong."""
    for schema, (title, _) in FILES.items():
        content = files[title.replace("NAME", "lb.example.com")]
        text = content.decode() if isinstance(content, bytes) else content
        tree, faults = compose(text.removeprefix("\ufeff"), title)
        assert tree is not None
        assert not faults
        assert list(objections(plain(tree), SCHEMAS[schema], SCHEMAS[schema])) == []


def test_golden_cases_survive_further_harm(tmp_path: Path) -> None:
    rng = random.Random(7)
    for path in sorted(GOLDEN.glob("*.txt")):
        case = read_case(path)
        for number in range(4):
            folder = case.deploy(tmp_path / f"{path.stem}{number}")
            name = rng.choice([name for name in NAMES if (folder / name).exists()] or ["gtm.yaml"])
            text = (folder / name).read_text(encoding="utf-8") if (folder / name).exists() else "node: x\n"
            changed = rng.choice((token_replaced, token_misspelt, lines_changed, bytes_put))(text, rng)
            write(folder, {name: changed})
            judged(folder, {**GOOD, **case.files, name: changed})
