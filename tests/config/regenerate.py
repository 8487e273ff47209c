"""Writes what is said now into the golden files: python -m tests.config.regenerate; then read the difference."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.config.folders import GOLDEN, read_case, said

if __name__ == "__main__":
    for path in sorted(GOLDEN.glob("*.txt")):
        case = read_case(path)
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(case.render(said(case.deploy(Path(folder)))), encoding="utf-8")
