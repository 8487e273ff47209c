"""gtm/publish/dataplane/layout.py and the object's own description of its structs, constants and enums."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gtm.decide.balance import Verdict, Wrap
from gtm.publish.dataplane import layout

HEADER = Path(__file__).resolve().parents[2] / "dataplane/include/gtm_dataplane.h"


@pytest.fixture(scope="module")
def types(built: Path) -> list[dict[str, Any]]:
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool")
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", str(built / "balance.bpf.o")], capture_output=True, check=True
    )
    return json.loads(dump.stdout)["types"]


@pytest.mark.parametrize("name", layout.BY_STRUCT)
def test_struct(types: list[dict[str, Any]], name: str) -> None:
    dtype = layout.BY_STRUCT[name]
    (struct,) = [entry for entry in types if entry["kind"] == "STRUCT" and entry["name"] == name]
    assert struct["size"] == dtype.itemsize
    fields = dtype.fields
    assert fields is not None
    assert {member["name"]: member["bits_offset"] // 8 for member in struct["members"]} == {
        field: offset for field, (_, offset, *_) in fields.items()
    }


def test_decap_settings(built: Path) -> None:
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool")
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", str(built / "decap.bpf.o")], capture_output=True, check=True
    )
    (struct,) = [entry for entry in json.loads(dump.stdout)["types"] if entry["name"] == "gtm_decap_settings"]
    dtype = layout.DECAP_SETTINGS
    assert struct["size"] == dtype.itemsize
    offsets = {member["name"]: member["bits_offset"] // 8 for member in struct["members"]}
    assert {offset for _, offset, *_ in (dtype.fields or {}).values()} == set(offsets.values())
    assert set(offsets) == set(dtype.names or ())


def test_verdicts_and_wraps() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    for enum, prefix in ((Verdict, "GTM_"), (Wrap, "GTM_WRAP_")):
        (body,) = re.findall(rf"enum gtm_{enum.__name__.lower()} {{(.*?)}}", text, re.DOTALL)
        names = [name.strip() for name in body.split(",") if name.strip() and name.strip() != "GTM_VERDICTS"]
        assert names == [prefix + member.name for member in enum]


def test_constants() -> None:
    defined = dict(re.findall(r"#define GTM_(\w+) +\(?([0-9a-fu<> ]+?)\)? *(?:/|$)", HEADER.read_text(), re.MULTILINE))
    for name in ("CPUS", "VIP_BUCKETS", "RINGS", "RING_SLOTS", "BACKENDS", "FLOW_BUCKETS", "VERDICTS_MAX", "VIP_TRACK"):
        left, _, shift = defined[name].replace("u", "").partition("<<")
        assert getattr(layout, name) == int(left) << int(shift or 0), name
