"""What a wheel brings along: the kernel's programs that gtm loads, and none that only tests do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "gtm/publish/dataplane"


def test_a_wheel_has_the_programs_that_gtm_loads() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    named = {
        name for path in (ROOT / "gtm").rglob("*.py") for name in re.findall(r"\b(\w+\.bpf\.o)\b", path.read_text())
    }
    assert set(targets["wheel"]["artifacts"]) == {f"{FOLDER}/{name}" for name in named}


def test_a_wheel_has_every_folder_of_the_reference_deployment() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    inside = {path.split("/")[0] for path in targets["wheel"]["only-include"]} - {"gtm"}
    assert inside == set(targets["wheel"]["sources"])
    assert "dataplane/services.yaml" in targets["wheel"]["only-include"]
