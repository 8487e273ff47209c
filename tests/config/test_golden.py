from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.folders import GOLDEN, GOOD, read_case, said, write

CASES = sorted(GOLDEN.glob("*.txt"))


def test_the_good_deployment_is_good(tmp_path: Path) -> None:
    assert said(write(tmp_path, GOOD)) == "ok\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_fault_is_named_with_file_line_key_and_what_is_allowed(path: Path, tmp_path: Path) -> None:
    case = read_case(path)
    assert case.files
    assert said(case.deploy(tmp_path)) == case.expected
    assert case.render(case.expected) == path.read_text(encoding="utf-8")
