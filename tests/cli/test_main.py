from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtm import __version__
from gtm.cli import seeing
from gtm.cli.main import build_parser, error_document, main
from gtm.model.errors import AskedError, ConfigError, ConfigErrors, GtmError, Refused, StoreError

COMMANDS = (
    ("init",), ("check",), ("version",), ("serve",), ("demo",), ("status",), ("explain",), ("drain",), ("undrain",),
    ("force",), ("unforce",), ("overrides",), ("geodata",), ("geodata", "update"), ("geodata", "show"),
    ("geodata", "check"), ("balance", "show"), ("balance", "decap"), ("balance", "setup"),
    ("balance", "run"), ("balance", "detach"), ("balance", "doctor"), ("balance", "drains"),
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "gtm.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        **more,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=" ".join)
def test_help_teaches(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "gtm" in said
    assert "example" in said or not command


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != ("geodata",)], ids=" ".join)
def test_every_command_has_json_and_says_what_it_does_in_the_overview(command: tuple[str, ...]) -> None:
    documented = (ROOT / "docs" / "cli.md").read_text()
    assert f"## gtm {' '.join(command)}" in documented or f"gtm {' '.join(command)}`" in documented
    with pytest.raises(SystemExit):
        build_parser().parse_args([*command, "--json", "--help"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gtm {__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


def test_version_imports_nothing_heavy() -> None:
    done = run("--version", check=True)
    assert done.stdout.startswith("gtm ")
    code = (
        "import sys; from gtm.cli.main import main; main(['--version']);"
        "print([m for m in ('numpy', 'pydantic', 'yaml', 'asyncio', 'dns', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        [],
        ["drain"],
        ["drain", "region/a"],
        ["drain", "region/a", "--reason", "x", "--for", "soon"],
        ["drain", "region/a", "--reason", "x", "--for", "0s"],
        ["force", "sideways", "region/a", "--reason", "x"],
        ["serve", "--listen", "nowhere"],
        ["serve", "--listen", "::1:53"],
        ["explain", "www.example.com"],
        ["overrides", "--limit", "many"],
        ["overrides", "--limit", "-1"],
        ["status", "--nothing"],
        ["geodata"],
    ],
    ids=" ".join,
)
def test_usage_is_2_with_one_line_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "usage: gtm" in said.err
    assert said.err.splitlines()[-1].startswith("gtm: ")


def test_usage_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "usage"
    assert error["exit_code"] == 2
    assert "SUBJECT" in error["message"]


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (AskedError("no such region", argument="--down", known=["eu-west"]), 2, "asked"),
        (Refused("the last one", guard="last-region"), 3, "refused"),
        (StoreError("locked"), 1, "problem"),
        (GtmError("nothing"), 1, "problem"),
        (ConfigError("bad", file="gtm.yaml", line=3, key="node", allowed="a name"), 1, "config"),
        (ConfigErrors([ConfigError("bad", file="a"), ConfigError("worse", file="b")]), 1, "config"),
    ],
)
def test_errors_have_their_exit_codes(
    error: GtmError, code: int, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(seeing, "run_status", fail)
    assert main(["status"]) == code
    assert [line[:5] for line in capsys.readouterr().err.splitlines()] == ["gtm: "] * len(str(error).splitlines())
    assert main(["status", "--json"]) == code
    document = json.loads(capsys.readouterr().out)["error"]
    assert (document["kind"], document["message"], document["exit_code"]) == (kind, str(error), code)


def test_error_documents_carry_their_parts() -> None:
    asked = error_document(AskedError("none", argument="from", known=("a", "b")), 2)
    assert (asked["argument"], asked["known"]) == ("from", ["a", "b"])
    config = error_document(ConfigError("bad", file="gtm.yaml", line=3, key="node", allowed="a name"), 1)
    assert config["errors"] == [{"file": "gtm.yaml", "line": 3, "key": "node", "message": "bad", "allowed": "a name"}]


def test_interrupts_are_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(seeing, "run_status", interrupt)
    assert main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_broken_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "gtm.cli.main", "version"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_folder_may_stand_before_or_after_the_command() -> None:
    parser = build_parser()
    assert parser.parse_args(["-C", "a", "status"]).folder == Path("a")
    assert parser.parse_args(["status", "-C", "a"]).folder == Path("a")
    assert parser.parse_args(["status"]).folder == Path()
    assert parser.parse_args(["--json", "status"]).json is True
    assert parser.parse_args(["status", "--json"]).json is True
    assert parser.parse_args(["status"]).json is False


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800)])
def test_durations(text: str, seconds: int) -> None:
    options = build_parser().parse_args(["drain", "region/us-east", "--reason", "x", "--for", text])
    assert options.for_s == seconds


def test_what_is_no_duration_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "region/us-east", "--reason", "x", "--for", "1 fortnight"]) == 2
    assert "'1 fortnight' is not a duration (allowed: a number with s, m, h, d or w" in capsys.readouterr().err


def test_repeatable_options() -> None:
    options = build_parser().parse_args(["explain", "www.example.com", "--from", "JP", "--down", "a", "--down", "b"])
    assert (options.type, options.client, options.down) == ("A", "JP", ["a", "b"])
    options = build_parser().parse_args(["serve", "--listen", "127.0.0.1:53", "--listen", "[::1]:5300"])
    assert [str(endpoint) for endpoint in options.listen] == ["127.0.0.1:53", "[::1]:5300"]
