from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtm.config.deployment import load
from gtm.config.schema import FILES, render_schemas
from gtm.config.yaml12 import compose, plain
from tests.config.conforms import objections
from tests.config.folders import ZONE, write

TOP = Path(__file__).parents[2]
TEMPLATE = TOP / "gtm/config/template"
SCHEMAS = {name: json.loads(text) for name, text in render_schemas().items()}
DOCUMENT = (TOP / "docs/configuration.md").read_text(encoding="utf-8")


def yaml_files() -> Iterator[tuple[str, Path]]:
    for folder in (TOP, TEMPLATE):
        for schema, (title, _) in FILES.items():
            for path in sorted(folder.glob(title.replace("NAME", "*"))):
                yield schema, path


def test_the_schemas_in_the_documentation_are_current() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in (TOP / "docs/schema").glob("*.json")}
    assert kept == render_schemas(), "make schema"


def test_every_kind_of_file_is_tried() -> None:
    # A folder to start from has no file of what few need.
    absent = {"load.schema.json", "rtt.schema.json", "anycast.schema.json", "services.schema.json"}
    starter = [schema for schema in FILES if schema not in absent]
    assert [schema for schema, _ in yaml_files()] == [*FILES, *starter]


@pytest.mark.parametrize(("schema", "path"), list(yaml_files()), ids=str)
def test_our_own_files_conform(schema: str, path: Path) -> None:
    tree, faults = compose(path.read_text(encoding="utf-8"), path.name)
    assert tree is not None
    assert faults == []
    assert list(objections(plain(tree), SCHEMAS[schema], SCHEMAS[schema])) == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("gtm.schema.json", {"nod": "x"}),
        ("gtm.schema.json", {"workers": 0}),
        ("gtm.schema.json", {"api": True}),
        ("regions.schema.json", {"regions": {"x": {"latitude": 91, "longitude": 0}}}),
        ("regions.schema.json", {"regions": {"x": {"latitude": 1}}}),
        ("checks.schema.json", {"checks": {"x": {"http": {"method": "PUT"}}}}),
        ("checks.schema.json", {}),
        ("load.schema.json", {"interval": True}),
        ("load.schema.json", {"sources": [{"prometheus": "http://x", "queries": [{"metric": "rps", "query": "x"}]}]}),
        ("load.schema.json", {"sources": [{"prometheus": "x"}]}),
        ("rtt.schema.json", {"targets": [{"kind": "icmp"}]}),
        ("rtt.schema.json", {"files": [{"path": "x", "format": "xml"}]}),
        ("rtt.schema.json", {"prefix4": 25}),
        ("rtt.schema.json", {"band": 0.1}),
        ("anycast.schema.json", {"speakers": {"x": {"region": "x"}}}),
        ("anycast.schema.json", {"speakers": {"x": {"region": "x", "neighbours": {"x": {"asn": 1}}}}}),
        ("anycast.schema.json", {"services": {"x": {"prefixes": "203.0.113.0"}}}),
        ("anycast.schema.json", {"services": {"x": {"prefixes": "203.0.113.0/24", "up": {"med": -1}}}}),
        ("anycast.schema.json", {"ladder": [{"hold": "5s"}]}),
        ("anycast.schema.json", {"guard": {"rpki": "on"}}),
        ("services.schema.json", {"services": {"x": {"vips": "203.0.113.1", "ports": "tcp/80"}}}),
        ("services.schema.json", {"services": {"x": {"vips": [], "ports": "tcp/80", "backends": {"a": "10.0.0.1"}}}}),
        ("services.schema.json", {"services": {"x": {"vips": "x", "ports": "sctp/80", "backends": {"a": "x"}}}}),
        ("services.schema.json", {"instances": {"x": {"region": "x", "interface": "eth0", "mode": "hardware"}}}),
        ("services.schema.json", {"instances": {"x": {"region": "x"}}}),
        ("services.schema.json", {"protection": {"rules": {"deny": "yes"}}}),
        ("services.schema.json", {"protection": {"rules": {"denied": "on"}}}),
        ("services.schema.json", {"protection": {"vip_rate": {"burst": 1}}}),
        ("steering.schema.json", {"names": {"x": {"answers": 17, "pool": "x"}}}),
        ("steering.schema.json", {"pools": {"x": {"us-east": [{"b": "192.0.2.1"}]}}}),
        ("steering.schema.json", {"pools": {"x": {"us-east": []}}}),
        ("steering.schema.json", {"names": {"x": {"pool": "x", "steer": [{"from": "BR"}]}}}),
        ("steering.schema.json", {"expect": [{"ask": "www", "from": "BR"}]}),
    ],
)
def test_wrong_values_do_not_conform(schema: str, value: Any) -> None:
    assert list(objections(value, SCHEMAS[schema], SCHEMAS[schema]))


def written_keys() -> dict[str, set[tuple[str, str]]]:
    """By section of the reference: each key in its tables, with its default."""
    keys: dict[str, set[tuple[str, str]]] = {}
    for section in re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `([a-z0-9_]+)` \| .* \| (`.*`|-|required) \| [^|]* \|$", section, flags=re.MULTILINE)
        keys[section.split("\n")[0]] = {(key, default.strip("`")) for key, default in rows}
    return keys


def schema_keys(schema: dict[str, Any], *, skip: tuple[str, ...]) -> set[tuple[str, str]]:
    """Each key that the file may have, at any depth, with its default as the reference writes it."""
    found = set()
    for name, shape in {"": schema, **schema.get("$defs", {})}.items():
        if name not in skip:
            for key, each in shape["properties"].items():
                found.add((key, "required" if key in shape.get("required", ()) else written(each.get("default"))))
    return found


def written(default: Any) -> str:
    if default is None:
        return "-"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return f"[{', '.join(map(str, default))}]"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_reference_has_every_key_with_its_default_and_no_other() -> None:
    tables = written_keys()
    assert tables["gtm.yaml"] == schema_keys(SCHEMAS["gtm.schema.json"], skip=())
    assert tables["geodata/regions.yaml"] | {("regions", "required")} == schema_keys(
        SCHEMAS["regions.schema.json"], skip=()
    )
    checks = schema_keys(SCHEMAS["checks.schema.json"], skip=())
    assert tables["probes/checks.yaml"] | {("checks", "required")} == checks
    assert tables["probes/load.yaml"] == schema_keys(SCHEMAS["load.schema.json"], skip=())
    assert tables["probes/rtt.yaml"] == schema_keys(SCHEMAS["rtt.schema.json"], skip=())
    anycast = schema_keys(SCHEMAS["anycast.schema.json"], skip=())
    assert tables["bgp/anycast.yaml"] == anycast
    services = schema_keys(SCHEMAS["services.schema.json"], skip=())
    assert tables["dataplane/services.yaml"] == services
    assert tables["zones/NAME.yaml"] == schema_keys(SCHEMAS["steering.schema.json"], skip=())


def test_the_examples_of_the_reference_are_a_deployment(tmp_path: Path) -> None:
    probes = (
        "probes/checks.yaml",
        "probes/load.yaml",
        "probes/rtt.yaml",
        "bgp/anycast.yaml",
        "dataplane/services.yaml",
    )
    names = ("gtm.yaml", "geodata/regions.yaml", *probes, "zones/lb.example.com.yaml")
    examples = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    found = load(write(tmp_path, {**dict(zip(names, examples, strict=True)), "zones/lb.example.com.zone": ZONE}))
    assert found.node.name == "fra1"
    assert len(found.expectations) == 2
