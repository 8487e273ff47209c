"""Contracts on the tree itself: who may import whom, what files may hold, and that the papers tell the truth."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gtm

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent.name for path in (ROOT / "gtm").glob("*/__init__.py"))
PURE = ("model", "wire", "decide", "answer")
LINES_MAX = 500
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> list[Path]:
    """The files that git keeps, or will once they are added; every file of the tree where there is no git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def texts(pattern: str = "*") -> Iterator[tuple[str, str]]:
    """(path in the tree, content) of every tracked text file whose name fits."""
    for path in tracked():
        if path.match(pattern):
            raw = path.read_bytes()
            if b"\0" not in raw[:8192]:
                yield str(path.relative_to(ROOT)), raw.decode("utf-8", "replace")


def lint_imports(cwd: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the tree at `cwd`, by the contracts in its pyproject.toml."""
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


# Who may import whom.


def test_import_contracts_are_kept() -> None:
    verdict = lint_imports(ROOT)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with this one's contracts and packages, and nothing in them."""
    root = tmp_path_factory.mktemp("skeleton")
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in PACKAGES:
        (root / "gtm" / package).mkdir(parents=True)
        (root / "gtm" / package / "__init__.py").touch()
    (root / "gtm" / "__init__.py").touch()
    assert lint_imports(root).returncode == 0
    return root


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("model", "import socket"),
        ("wire", "import os.path"),
        ("decide", "from time import monotonic"),
        ("decide", "import gtm.wire"),
        ("answer", "def late():\n    import random"),
        ("decide", "import gtm.answer"),
        ("model", "import gtm.wire"),
        ("config", "import gtm.wire"),
        ("geo", "import gtm.decide"),
        ("store", "import gtm.config"),
        ("observe", "import gtm.store"),
        ("publish", "import gtm.observe"),
        ("web", "import gtm.wire"),
        ("web", "import pydantic"),
        ("cli", "import gtm.store"),
        ("app", "import gtm.cli"),
    ],
)
def test_import_contracts_catch(package: str, line: str, skeleton: Path) -> None:
    culprit = skeleton / "gtm" / package / "culprit.py"
    culprit.write_text(line + "\n")
    try:
        verdict = lint_imports(skeleton)
    finally:
        culprit.unlink()
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    assert f"gtm.{package}.culprit" in verdict.stdout


def test_import_contracts_catch_a_package_without_a_place(skeleton: Path) -> None:
    stray = skeleton / "gtm" / "stray"
    stray.mkdir()
    (stray / "__init__.py").touch()
    try:
        verdict = lint_imports(skeleton)
    finally:
        shutil.rmtree(stray)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr


def test_pure_packages_call_no_builtin_that_does_io() -> None:
    impure = {"open", "print", "input", "breakpoint", "eval", "exec", "__import__"}
    found = [
        f"gtm/{package}/{path.name}:{node.lineno}: {node.func.id}()"
        for package in PURE
        for path in sorted((ROOT / "gtm" / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in impure
    ]
    assert not found


def test_values_of_the_model_are_frozen_slotted_and_by_keyword() -> None:
    wanted = {"frozen": True, "slots": True, "kw_only": True}
    loose = [
        f"{path.name}:{node.name}"
        for path in sorted((ROOT / "gtm" / "model").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for mark in node.decorator_list
        if "dataclass" in ast.unparse(mark)
        and (not isinstance(mark, ast.Call) or {k.arg: ast.literal_eval(k.value) for k in mark.keywords} != wanted)
    ]
    assert not loose


# What files may hold.


def test_no_module_is_too_long() -> None:
    long = {name: text.count("\n") for name, text in texts("*.py") if text.count("\n") > LINES_MAX}
    assert not long


def test_modules_are_named_for_what_they_hold() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [name for name, _ in texts("*.py") if Path(name).name in vague]


@pytest.mark.parametrize(
    "trace",
    [
        r"(?<![\w.$}-])/" + r"(?:work|root|home)/\w",  # one machine's folders
        r"/tmp/" + r"(?:v|brief|house)\b",
        r"(?:extra-)?index-" + r"url",
        r"pypi\.org/" + r"simple",
    ],
)
def test_no_file_tells_of_the_machine_it_was_written_on(trace: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(trace, line)
    ]
    assert not found


# The papers.


def slug(heading: str) -> str:
    """The anchor that a Markdown heading gets on the usual forges."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose(text: str) -> str:
    """A Markdown file without its code blocks and spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def test_links_between_documents_resolve() -> None:
    broken = []
    for name, text in texts("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            if not target.exists():
                broken.append(f"{name}: {link}")
            elif anchor and anchor not in {slug(h) for h in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)}:
                broken.append(f"{name}: {link} (no such heading)")
    assert not broken


def requirement_name(requirement: str) -> str:
    """The normal form (PEP 503) of a requirement's project name."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def declared(*extras: str) -> set[str]:
    """The projects that gtm depends on, with those of `extras`."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {requirement_name(entry) for entries in lists for entry in entries}


def test_every_runtime_dependency_has_its_section() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    sections = {requirement_name(heading) for heading in re.findall(r"^### (\S+)", text, re.MULTILINE)}
    assert sections == declared(*(extra for extra in PROJECT["optional-dependencies"] if extra != "dev"))


def test_every_dependency_that_is_always_installed_is_imported() -> None:
    modules = {"dnspython": "dns", "pyyaml": "yaml"}
    source = "\n".join(path.read_text() for path in (ROOT / "gtm").rglob("*.py"))
    idle = [
        name
        for name in declared("web")
        if not re.search(rf"^\s*(import|from) {modules.get(name, name.replace('-', '_'))}\b", source, re.MULTILINE)
    ]
    assert not idle


def test_sections_of_dependencies_say_job_keeper_and_way_out() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        body = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
        for word in ("Job:", "Kept by:", "Leaving it:"):
            assert word in body, f"{section.split()[0]}: {word}"


def test_constraints_hold_names_and_versions_only_and_pin_all_that_is_declared() -> None:
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)]
    assert declared(*PROJECT["optional-dependencies"]) <= {requirement_name(line) for line in lines}


def test_version_has_one_source() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gtm.__version__)
    assert f"## {gtm.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_ci_can_run() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert run.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", str(run)], check=False).returncode == 0


# Skips in CI, by tests/conftest.py.

CASES = """
import pytest

@pytest.mark.skipif(True, reason="needs a program")
def test_mark(): pass

def test_call(): pytest.skip("needs root")

def test_import(): pytest.importorskip("no_such_module_at_all")

def test_kernel(): pytest.skip("this kernel has no such thing")

@pytest.mark.xfail(strict=True, raises=ZeroDivisionError)
def test_expected(): 1 / 0
"""


@pytest.mark.parametrize(("ci", "failed", "skipped"), [("true", 4, 1), ("", 0, 5)])
def test_a_skip_for_want_of_something_installable_fails_in_ci(
    ci: str, failed: int, skipped: int, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "test_whole.py").write_text('import pytest\npytest.skip("needs all", allow_module_level=True)\n')
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", ".", "-q", "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": "--continue-on-collection-errors"},
        capture_output=True,
        text=True,
        check=False,
    )
    counts = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", outcome.stdout.splitlines()[-1])}
    assert counts.get("failed", 0) + counts.get("error", 0) == failed, outcome.stdout
    assert counts.get("skipped", 0) == skipped, outcome.stdout
    assert counts["xfailed"] == 1, outcome.stdout
