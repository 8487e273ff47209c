"""Checks that programs, files and the kernel's own echo answer."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.model.check import Check, Composed, ExecProbe, FileProbe, IcmpProbe, Member, PushProbe, Target, TcpProbe
from gtm.observe import kinds
from gtm.observe.kinds import exec as exec_module
from gtm.observe.kinds.icmp import _RIGHTS, _packet, _parsed
from gtm.observe.outcome import Outcome, Reason
from tests.observe.kinds.asked import HERE, asked, run, shown

ROOT = Path(__file__).resolve().parents[3]


def sh(script: str, *arguments: str, degraded: tuple[int, ...] = ()) -> ExecProbe:
    return ExecProbe(argv=("/bin/sh", "-c", script, "sh", *arguments), degraded_exits=degraded)


@pytest.mark.parametrize(
    ("probe", "expected", "poor"),
    [
        (sh("echo fine; echo more"), (Reason.OK, "fine in N ms"), None),
        (sh("exit 0"), (Reason.OK, "exit code 0 in N ms"), None),
        (sh("echo broken; exit 2"), (Reason.STATUS, "exit code 2: broken"), None),
        (sh("echo slow; exit 1", degraded=(1,)), (Reason.OK, "slow in N ms"), "exit code 1: slow"),
        (sh("kill -TERM $$"), (Reason.STATUS, "ended by SIGTERM"), None),
        (sh('echo "$1"', "{address}:80"), (Reason.OK, f"{HERE}:80 in N ms"), None),
        (ExecProbe(argv=("/bin/echo", "$(id); *")), (Reason.OK, "$(id); * in N ms"), None),
        (sh("printf '\\033[31mred\\n'"), (Reason.OK, ".[31mred in N ms"), None),
        (sh('env | sort | tr "\\n" " "; pwd'), (Reason.OK, "LC_ALL=C.UTF-8 PATH="), None),
        (
            ExecProbe(argv=("/nonexistent/x",)),
            (Reason.OURS, "cannot run /nonexistent/x: No such file or directory"),
            None,
        ),
        (ExecProbe(argv=("/etc/passwd",)), (Reason.OURS, "cannot run /etc/passwd: Permission denied"), None),
    ],
)
def test_programs(
    probe: ExecProbe, expected: tuple[Reason, str], poor: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    outcome = run(asked(probe))
    reason, words = shown(outcome)
    assert (reason, words.startswith(expected[1]), outcome.poor) == (expected[0], True, poor), words
    assert "SECRET" not in words


def test_output_is_bounded_and_its_end_is_not_waited_for() -> None:
    outcome = run(asked(sh("yes abcdefgh | head -c 5000000; exit 3")))
    assert shown(outcome) == (Reason.STATUS, "exit code 3: abcdefgh")
    outcome = run(asked(sh("sleep 1000 & echo started")))  # a child that keeps the output open
    assert shown(outcome) == (Reason.OK, "started in N ms")


def await_end(pid: int) -> bool:
    """Whether a process is gone, or a zombie that somebody else will reap; it has half a minute."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 30)[0])
    finally:
        os.close(pidfd)


def test_all_of_it_is_killed_at_the_deadline(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    outcome = run(asked(sh('sleep 1000 & echo $! $$ > "$1"; trap "" TERM; wait', str(pids)), timeout_s=2.0))
    assert shown(outcome) == (Reason.TIMEOUT, "timeout after 2 s while running the program")
    ended = [await_end(int(pid)) for pid in pids.read_text().split()]
    assert ended == [True, True]


def test_waiting_for_a_turn_is_not_held_against_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve programs that hold on until a file is there, three at a time, and their sum is far past the deadline."""
    monkeypatch.setattr(exec_module, "RUNNING_MAX", 3)
    script = 'touch "$1/$$"; sleep 2; rm "$1/$$"; ls "$1" | wc -l'

    async def go() -> list[Outcome]:
        return list(await asyncio.gather(*(asked(sh(script, str(tmp_path)), timeout_s=6.0) for _ in range(12))))

    outcomes = run(go())
    assert {outcome.reason for outcome in outcomes} == {Reason.OK}
    assert max(int(outcome.detail.split()[0]) for outcome in outcomes) <= 2  # the others that ran beside it


def test_a_queue_that_is_full_says_nothing_of_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_module, "RUNNING_MAX", 1)
    monkeypatch.setattr(exec_module, "WAITING_MAX", 2)

    async def go() -> list[Reason]:
        return [o.reason for o in await asyncio.gather(*(asked(sh("exit 0")) for _ in range(5)))]

    assert sorted(run(go())) == sorted([Reason.OK] * 3 + [Reason.OURS] * 2)


def test_attempts_that_are_cancelled_give_their_turns_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_module, "RUNNING_MAX", 1)

    async def go() -> Outcome:
        tasks = [asyncio.create_task(asked(sh("sleep 1000"))) for _ in range(3)]
        await asyncio.sleep(0)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await asked(sh("echo next"))

    assert shown(run(go())) == (Reason.OK, "next in N ms")


# Files.


@pytest.mark.parametrize(
    ("text", "reason", "detail", "poor"),
    [
        ("up\n", Reason.OK, "up in N ms", None),
        ("UP all 12 checks passed\nmore\n", Reason.OK, "all 12 checks passed in N ms", None),
        ("degraded: one disk", Reason.OK, "one disk in N ms", "one disk"),
        ("degraded", Reason.OK, "degraded in N ms", "degraded"),
        ("down for \x1b[31mrepairs", Reason.STATUS, "for .[31mrepairs", None),
        ("down", Reason.STATUS, "down", None),
        (json.dumps({"health": "down", "detail": "deploying"}), Reason.STATUS, "deploying", None),
        (json.dumps({"health": "up"}), Reason.OK, "up in N ms", None),
        (json.dumps({"health": "DEGRADED", "more": 1}), Reason.OK, "degraded in N ms", "degraded"),
        ("", Reason.OURS, "no fresh result: ", None),
        ("fine", Reason.OURS, "no fresh result: ", None),
        ("{", Reason.OURS, "no fresh result: ", None),
        ('{"health": 1}', Reason.OURS, "no fresh result: ", None),
        ("up" + "x" * 5000, Reason.OURS, "no fresh result: ", None),
    ],
)
def test_files(tmp_path: Path, text: str, reason: Reason, detail: str, poor: str | None) -> None:
    (tmp_path / f"{HERE}.txt").write_text(text)
    outcome = run(asked(FileProbe(path=str(tmp_path / "{address}.txt"))))
    assert (outcome.reason, shown(outcome)[1].startswith(detail), outcome.poor) == (reason, True, poor), outcome.detail


def test_a_result_that_is_old_or_missing_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result"
    probe = FileProbe(path=str(path), ttl_s=60.0)
    assert shown(run(asked(probe))) == (Reason.OURS, f"no fresh result: {path}: No such file or directory")
    path.write_text("down")
    for age_s, words in ((300, "s old"), (-300, "from the future")):
        os.utime(path, (time.time() - age_s,) * 2)
        outcome = run(asked(probe))
        assert outcome.reason is Reason.OURS
        assert outcome.detail.endswith(words)
    path.unlink()
    os.mkfifo(path)
    assert shown(run(asked(probe))) == (Reason.OURS, f"no fresh result: {path} is no regular file")


# ICMP.


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
@pytest.mark.parametrize("address", [HERE, "::1"])
@pytest.mark.parametrize("size_bytes", [16, 57, 9000])
def test_echoes_by_the_kernel(address: str, size_bytes: int) -> None:
    outcome = run(asked(IcmpProbe(size_bytes=size_bytes), address))
    assert shown(outcome) == (Reason.OK, "echo reply in N ms")
    assert outcome.phases.first_byte_s is not None


IN_NAMESPACE = """
import asyncio, os, sys
from tests.observe.kinds.asked import asked, shown
from gtm.model.check import IcmpProbe
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def go():
    for address in sys.argv[1:]:
        print(*shown(await asked(IcmpProbe(), address, 2.0)), sep="|")
asyncio.run(go())
"""


def in_namespace(groups: str, *addresses: str) -> list[str]:
    """What an account without rights sees, in a network namespace of its own."""
    setup = f'ip link set lo up; echo "{groups}" > /proc/sys/net/ipv4/ping_group_range; exec "$@"'
    made = subprocess.run(
        ["unshare", "-n", "sh", "-c", setup, "sh", sys.executable, "-c", IN_NAMESPACE, *addresses],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_an_account_without_rights() -> None:
    assert in_namespace("0 2147483647", "127.0.0.1", "::1", "192.0.2.1") == [
        "ok|echo reply in N ms",
        "ok|echo reply in N ms",
        "unreachable|network unreachable while sending the echo request",
    ]
    assert in_namespace("1 0", "127.0.0.1", "::1") == [f"ours|{_RIGHTS}"] * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = 'ip link set lo up; echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all; exec "$@"'
    program = IN_NAMESPACE.replace("os.setgroups([]); os.setgid(65534); os.setuid(65534)", "")
    made = subprocess.run(
        ["unshare", "-n", "sh", "-c", setup, "sh", sys.executable, "-c", program, "127.0.0.1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert made.stdout == "timeout|timeout after 2 s while waiting for the echo reply\n", made.stderr


def test_replies_to_others_are_not_ours() -> None:
    ip_header = bytes.fromhex("4500002000000000400100007f0000017f000001")
    mine = _packet(0, 7, 9, b"token123")
    assert _parsed(ip_header + mine, raw=True, version=4) == (0, 0, 7, 9, b"token123")
    assert _parsed(mine, raw=False, version=4) == (0, 0, None, 9, b"token123")
    assert _parsed(ip_header + mine[:7], raw=True, version=4) is None
    assert _parsed(b"", raw=True, version=4) is None


def test_checks_that_are_never_asked() -> None:
    for probe in (PushProbe(), Composed(term=Member(check="x")), TcpProbe(port=1)):
        with pytest.raises(ValueError, match="x@127.0.78.1 is"):
            kinds.ask(Target(check="x", address=ip_address(HERE)), Check(name="x", probe=probe))
    for unfit in (ExecProbe(argv=()), ExecProbe(argv=("a\0b",)), IcmpProbe(size_bytes=1)):
        assert run(asked(unfit)).reason is Reason.OURS
