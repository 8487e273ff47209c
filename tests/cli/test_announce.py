"""`gtm announce render` and `gtm announce check`, beside the real ExaBGP and beside odd ones."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gtm.app.announce.account import Account, first_barred, may_set_addresses
from gtm.app.announce.check import Inspected, Severity, check
from gtm.app.announce.render import announcer, read_keys, render
from gtm.app.announce.speaker import find_speaker
from gtm.cli.main import build_parser, main
from gtm.model.errors import ConfigErrors, GtmError
from tests.config.folders import ANYCAST, GOOD, NODE, write

FILE = "bgp/anycast.yaml"
SPEAKER = NODE.replace("ns1", "edge1")
KEY = "s3cret"
NOBODY = Account(name="nobody", uid=65534, gid=65534)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A deployment of which this node is a speaker."""
    return write(tmp_path / "deployment", {**GOOD, "gtm.yaml": SPEAKER})


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of ExaBGP but those that a test makes, and that gtm would run as who runs the test."""
    for name in list(os.environ):
        if name.lower().startswith("exabgp"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("exabgp_daemon_user", Account.own().name)
    monkeypatch.setenv("exabgp_api_cli", "false")


def with_key(folder: Path, key: bytes = f"{KEY}\n".encode()) -> Path:
    (folder / "md5").write_bytes(key)
    text = ANYCAST.replace("session: {", "session: {md5_file: md5, ")
    assert text != ANYCAST
    return write(folder, {FILE: text})


@pytest.mark.parametrize(
    "words", ["announce -C DIR", "announce run -C DIR", "-C DIR announce", "-C DIR announce run", "announce -C DIR run"]
)
def test_alone_it_is_the_process_of_exabgp(words: str) -> None:
    options = build_parser().parse_args(words.split())
    assert (options.run.__name__, options.folder) == ("run_announcer", Path("DIR"))


# render


def test_what_is_printed_is_the_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["announce", "render", "-C", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert f"    run {shlex.join(announcer(folder))};\n" in printed
    assert str(folder.resolve()) in printed
    assert printed.count("\nneighbor ") == 2
    assert main(["announce", "render", "-C", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"node": "edge1", "kind": "exabgp", "file": None, "secret": False, "text": printed}


def test_the_program_that_exabgp_starts_is_there(folder: Path) -> None:
    program, *_ = announcer(folder)
    assert Path(program).is_absolute()
    assert os.access(program, os.X_OK)


def test_a_file_without_keys_may_be_read_and_one_with_keys_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "exabgp.conf"
    assert main(["announce", "render", "-C", str(folder), "--out", str(out)]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert "written" in capsys.readouterr().out
    with_key(folder)
    assert main(["announce", "render", "-C", str(folder), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr().out
    assert KEY not in said
    assert json.loads(said) == {"node": "edge1", "kind": "exabgp", "file": str(out), "secret": True, "text": None}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text().count(f'md5-password "{KEY}";') == 2
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_keys_are_never_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_key(folder)
    assert main(["announce", "render", "-C", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert KEY not in printed
    assert "md5-password" not in printed
    assert "--out" in printed


@pytest.mark.parametrize(("key", "words"), [(b" \n", "is empty"), (b"\xff\n", "is not text")])
def test_a_key_that_is_none_is_one_line(key: bytes, words: str, folder: Path) -> None:
    with_key(folder, key)
    with pytest.raises(GtmError, match=words):
        read_keys(find_speaker(folder).speaker)


def test_a_key_that_is_missing_is_one_line_and_nothing_is_written(folder: Path) -> None:
    with_key(folder)
    (folder / "md5").unlink()
    out = folder / "exabgp.conf"
    with pytest.raises(GtmError, match="md5: No such file"):
        render(folder, out=out)
    assert not out.exists()


@pytest.mark.parametrize("flavour", ["frr", "bird"])
def test_bfd(flavour: str, folder: Path) -> None:
    out = folder / "bfd.conf"
    rendered = render(folder, bfd=flavour, out=out)
    assert (rendered.kind, rendered.text) == (flavour, out.read_text())
    assert "198.51.100.1" in out.read_text()
    assert "2001:db8:200::1" not in out.read_text()  # that neighbour says `bfd: false`


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--node", "edge9"], 2, "there is no speaker edge9; did you mean edge1? (speakers: edge1)"),
        (["--out", "/nowhere/at/all"], 1, "/nowhere/at/all: No such file"),
        (["--run", 'x "y'], 1, "No closing quotation"),
        (["--run", "a'b\"c"], 1, "No closing quotation"),
        (["--run", "'a\nb'"], 1, "cannot be written"),
        (["--bfd", "frr", "--run", "x"], 2, "not allowed with"),
    ],
)
def test_what_cannot_be_rendered_is_one_line(
    arguments: list[str], code: int, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["announce", "render", "-C", str(folder), *arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_node_that_is_no_speaker_and_a_deployment_that_announces_nothing(folder: Path) -> None:
    write(folder, {"gtm.yaml": NODE})
    with pytest.raises(GtmError, match=r"ns1, which gtm.yaml says this node is, is no speaker \(speakers: edge1\)"):
        find_speaker(folder)
    assert find_speaker(folder, "edge1").speaker.node == "edge1"
    (folder / FILE).unlink()
    with pytest.raises(GtmError, match="there is no such file, so nothing is announced"):
        find_speaker(folder)


# check


def test_the_check_of_the_whole_counts_what_is_announced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = json_of(capsys, "check", "-C", str(folder))["counts"]
    assert (counts["speakers"], counts["services"]) == (1, 1)
    assert main(["check", "-C", str(folder)]) in {0, 1}
    assert "1 speaker, 1 announced service, 1 balanced service, 3 backends\n" in capsys.readouterr().out
    (folder / FILE).unlink()
    assert main(["check", "-C", str(folder)]) in {0, 1}
    assert "announced" not in capsys.readouterr().out


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The document that a command prints."""
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


SECOND = """\
  edge2:
    region: eu-west
    address: [198.51.100.9, "2001:db8::9"]
    neighbours: {x: 64499@198.51.100.10}
providers:
"""


def about(inspected: Inspected, severity: Severity = Severity.ERROR) -> dict[str, str]:
    return {each.about: each.message for each in inspected.findings if each.severity is severity}


@pytest.fixture
def real() -> None:
    pytest.importorskip("exabgp")


@pytest.mark.usefixtures("real")
def test_a_good_speaker_is_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ANYCAST.replace("    addresses: 203.0.113.1\n", "")  # so that no right is needed to put it on lo
    write(folder, {FILE: text})
    assert main(["announce", "check", "-C", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("edge1 in us-east: announces web to transit-a 198.51.100.1 AS64496, ix 2001:db8:200::1")
    assert f"ok; by ExaBGP 5.0.15, gtm runs as {Account.own().name}" in said
    out = folder / "exabgp.conf"
    render(folder, out=out)
    inspected = check(folder, conf=out)
    assert (inspected.ok, inspected.findings) == (True, ())
    render(folder, out=out, run="/nowhere/gtm announce run")
    assert "/nowhere/gtm" in about(check(folder, conf=out))["ExaBGP"]


def test_a_configuration_that_exabgp_does_not_take_is_said_in_its_words(folder: Path) -> None:
    found = check(folder, node="edge1", program=str(folder_program(folder, validate=1, says="line 3: no such thing")))
    assert found.ok is False
    assert "line 3: no such thing" in {each.message for each in found.findings}


def folder_program(folder: Path, *, version: str = "5.0.15", validate: int = 0, says: str = "", env: str = "") -> Path:
    """A program that answers as ExaBGP does, with what it is to say."""
    path = folder / "exabgp"
    path.write_text(
        f"#!/bin/sh\ncase $1 in\nversion|--version) echo 'ExaBGP : {version}' ;;\n"
        f"env) printf '[exabgp.daemon]\\nuser = %s\\n{env}' '{Account.own().name}' ;;\n"
        f"validate) echo '{says}'; exit {validate} ;;\nesac\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "fine"), [("5.0.15", True), ("4.2.25", True), ("4.1.0", False), ("6.0.0", False), ("who knows", False)]
)
def test_versions_that_gtm_can_talk_to(version: str, fine: bool, folder: Path) -> None:
    found = check(folder, program=str(folder_program(folder, version=version)))
    assert ("ExaBGP" in about(found)) == (not fine)
    assert ("ExaBGP" in about(found, Severity.WARNING)) == version.startswith("4.2")
    assert (found.account is not None) == version.startswith("5.")
    assert found.exabgp == (version if version[0].isdigit() else None)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("api.ack", "false", Severity.ERROR),
        ("api.respawn", "false", Severity.ERROR),
        ("tcp.once", "true", Severity.ERROR),
        ("tcp.attempts", "3", Severity.ERROR),
        ("api.cli", "true", Severity.WARNING),
    ],
)
def test_settings_that_gtm_cannot_work_under(
    name: str, value: str, severity: Severity, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"exabgp.{name}" not in about(check(folder), severity)
    monkeypatch.setenv(f"exabgp.{name}", value)
    monkeypatch.delenv(f"exabgp_{name.replace('.', '_')}", raising=False)
    assert f"exabgp.{name}" in about(check(folder), severity)


def test_drop_false_does_not_keep_root(folder: Path) -> None:
    program = folder_program(folder, env="drop = false\\nuser = nobody\\n")
    found = check(folder, program=str(program))
    assert "becomes nobody" in about(found, Severity.WARNING)["exabgp.daemon.drop"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nobody else can become another account")
def test_started_as_root_it_would_be_nobody_and_could_do_nothing(folder: Path) -> None:
    folder.chmod(0o700)
    program = folder_program(folder, env="user = nobody\\n")
    found = check(folder, program=str(program))
    assert found.account == "nobody"
    messages = [each.message for each in found.findings if each.about == "rights"]
    assert any("may not read" in each for each in messages)
    assert any("may not write" in each for each in messages)
    assert any("may not put on lo" in each for each in messages)
    assert all("exabgp.daemon.user=root" in (each.advice or "") for each in found.findings if each.about == "rights")
    unknown = check(folder, program=str(folder_program(folder, env="user = no-such-account\\n")))
    assert "no account no-such-account" in about(unknown)["exabgp.daemon.user"]
    write(folder, {"gtm.yaml": NODE})
    assert "exabgp.daemon.user" not in about(check(folder, node="edge1", program=str(program)))  # on another machine


def test_a_file_that_exabgp_runs_with_is_compared(folder: Path) -> None:
    program = str(folder_program(folder))
    out = with_key(folder) / "exabgp.conf"
    render(folder, out=out, run="/bin/other program")
    assert not {str(out)} & {each.about for each in check(folder, conf=out, program=program).findings}
    out.chmod(0o640)
    assert "mode 0640" in about(check(folder, conf=out, program=program))[str(out)]
    out.write_text(out.read_text().replace("hold-time 9", "hold-time 10"))
    found = check(folder, conf=out, program=program)
    assert "not what would be rendered" in about(found, Severity.WARNING)[str(out)]
    assert "No such file" in about(check(folder, conf=folder / "none", program=program))[str(folder / "none")]


def test_a_key_that_cannot_be_read_is_a_finding_among_others(folder: Path) -> None:
    with_key(folder)
    (folder / "md5").unlink()
    found = check(folder, program=str(folder_program(folder)))
    assert "md5" in about(found)["md5_file"]
    assert not found.ok


@pytest.mark.parametrize(
    ("old", "new", "subject", "words"),
    [
        ("    local: mail\n", "", "web", "nothing is checked"),
        ("203.0.113.0/24, ", "203.0.113.0/25, ", "web", "longer than /24"),
        ("    up: {", "    up: {local_pref: 50, ", "web", "local_pref is not told"),
        ("    prefixes", "    regions: eu-west\n    prefixes", "edge1", "no service may be announced in us-east"),
        ("providers:\n", SECOND, "guard", "will be HELD"),
    ],
)  # fmt: skip
def test_what_is_seldom_meant(old: str, new: str, subject: str, words: str, folder: Path) -> None:
    text = ANYCAST.replace('203.0.113.0/24, "2001:db8:61::/48..64"', '203.0.113.0/24..32, "2001:db8:61::/48..64"')
    program = str(folder_program(folder))
    write(folder, {FILE: text})
    assert words not in about(check(folder, program=program), Severity.WARNING).get(subject, "")
    assert old in text
    write(folder, {FILE: text.replace(old, new, 1)})
    assert words in about(check(folder, program=program), Severity.WARNING)[subject]


def test_what_is_declared_wrongly_is_listed_in_full(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {FILE: ANYCAST.replace("us-east", "us-esat").replace("local: mail", "local: male")})
    with pytest.raises(ConfigErrors) as raised:
        check(folder)
    assert len(raised.value.errors) == 2
    assert main(["announce", "check", "-C", str(folder)]) == 1
    assert "did you mean us-east?" in capsys.readouterr().err


def test_without_exabgp_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    found = check(folder, node="edge1")
    assert (found.exabgp, found.account) == (None, None)
    assert "there is none here" in about(found, Severity.WARNING)["ExaBGP"]


@pytest.mark.parametrize("program", ["/nowhere/exabgp", "no-such-exabgp"])
def test_an_exabgp_that_is_not_there_is_one_line(program: str, folder: Path) -> None:
    with pytest.raises(GtmError, match="not a program"):
        check(folder, program=program)


def test_one_that_cannot_run_is_one_line(folder: Path) -> None:
    path = folder / "exabgp"
    path.write_bytes(b"\x7fELF, but no program")
    path.chmod(0o755)
    with pytest.raises(GtmError, match="exabgp"):
        check(folder, program=str(path))


# rights


def test_modes_tell_what_another_account_may_do(tmp_path: Path) -> None:
    other = Account(name="other", uid=os.geteuid() + 4000, gid=os.getegid() + 4000)
    closed, file = tmp_path / "closed", tmp_path / "closed" / "file"
    closed.mkdir()
    file.write_text("x")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(0o755)
    file.chmod(0o644)
    assert other.barred(file) is None
    assert other.barred(file, write=True) == file
    file.chmod(0o640)
    assert other.barred(file) == file
    closed.chmod(0o700)
    assert first_barred(other, [tmp_path, file]) == closed
    assert other.barred(closed / "new" / "file", write=True) == closed
    closed.chmod(0o755)
    assert other.barred(closed / "new", write=True) == closed
    closed.chmod(0o777)
    assert other.barred(closed / "new", write=True) is None
    assert Account(name="root", uid=0, gid=0).barred(file, write=True) is None
    group = Account(name="group", uid=other.uid, gid=os.getegid())
    assert group.barred(file) is None


def test_accounts() -> None:
    assert Account.find("root") == Account(name="root", uid=0, gid=0)
    assert Account.find("no-such-account") is None
    assert Account.own().uid == os.geteuid()
    assert isinstance(may_set_addresses(), bool)
