"""gtm/publish/dataplane/guard_layout.py and the object's own description of its structs, constants and enums."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gtm.decide import guard
from gtm.decide.guard import Pass, Reason
from gtm.publish.dataplane import guard_layout as layout

HEADER = Path(__file__).resolve().parents[2] / "dataplane/include/gtm_guard.h"


@pytest.fixture(scope="module")
def types(built: Path) -> list[dict[str, Any]]:
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool")
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", str(built / "guard.bpf.o")], capture_output=True, check=True
    )
    return json.loads(dump.stdout)["types"]


@pytest.mark.parametrize("name", layout.BY_STRUCT)
def test_struct(types: list[dict[str, Any]], name: str) -> None:
    dtype = layout.BY_STRUCT[name]
    (struct,) = [entry for entry in types if entry["kind"] == "STRUCT" and entry["name"] == name]
    assert struct["size"] == dtype.itemsize
    assert {member["name"]: member["bits_offset"] // 8 for member in struct["members"]} == {
        field: offset for field, (_, offset, *_) in (dtype.fields or {}).items()
    }


def _enum(name: str) -> list[str]:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    (body,) = re.findall(rf"enum {name} {{(.*?)}}", text, re.DOTALL)
    return [word.strip() for word in body.split(",") if word.strip()]


def test_enums() -> None:
    assert _enum("gtm_guard_reason") == [*(f"GTM_GUARD_{each.name}" for each in Reason), "GTM_GUARD_REASONS"]
    assert _enum("gtm_guard_pass") == [*(f"GTM_GUARD_{each.name}" for each in Pass), "GTM_GUARD_PASSES"]
    classes = [name.removeprefix("GTM_GUARD_") for name in _enum("gtm_guard_class")]
    assert [getattr(layout, name) for name in classes] == list(range(4))


def test_constants() -> None:
    defined = dict(
        re.findall(r"#define GTM_GUARD_(\w+) +\(?([0-9a-fu<> ]+?)\)? *(?:/|$)", HEADER.read_text(), re.MULTILINE)
    )
    for name in ("TARGET_BUCKETS", "TARGETS", "PAGES", "SOURCE_LINES", "REASONS_MAX", "PASSES_MAX", "LISTS4", "LISTS6"):
        left, _, shift = defined[name].replace("u", "").partition("<<")
        assert getattr(layout, name) == int(left) << int(shift or 0), name
    assert int(defined["TICK_SHIFT"]) == guard.TICK_SHIFT
    assert guard.SOURCE_LINES == layout.SOURCE_LINES
