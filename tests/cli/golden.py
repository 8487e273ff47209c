"""Texts as people see them, kept in files beside the tests."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("golden")


def same_as_golden(name: str, text: str) -> None:
    """Fail where the text is not the file's. With GTM_GOLDEN=write it is written instead: then read the diff."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GTM_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text()
