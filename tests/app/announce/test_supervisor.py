"""The supervisor under an ExaBGP that says what it likes: whom it ends, and whom never."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.app.announce.announcer import DEADLINE_S, Announcer, announcer, environment, settled

# Starts gtm as ExaBGP does, and answers `done` to every command, with what it is told to say before.
FAKE = """
import subprocess, sys
folder, answers = sys.argv[1], eval(sys.argv[2])
gtm = [sys.executable, "-m", "gtm.cli.main", "announce", "run", "-C", folder]
child = subprocess.Popen(gtm, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in child.stdout:
    if answers is None:
        continue
    for start, answer in answers.items():
        if line.decode().startswith(start):
            child.stdin.write(answer.encode() + b"\\n")
    child.stdin.write(b"done\\n")
    child.stdin.flush()
"""
RIB = (
    "neighbor 127.0.0.1 local-ip 127.0.0.5 local-as 65010 peer-as 65000 router-id 127.0.0.5 family-allowed in-open "
    "ipv4 unicast 203.0.113.0/24 next-hop 127.0.0.5 med 100"
)
NEIGHBOURS = '[{"peer": {"address": "127.0.0.1"}, "fsm": "ESTABLISHED"}]'
STUBBORN = {"version": "exabgp 5.0.15", "show adj-rib": RIB, "show neighbor": NEIGHBOURS}


@contextlib.contextmanager
def fake(one: Announcer, answers: dict[str, str] | None) -> Iterator[subprocess.Popen[bytes]]:
    with (one.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", FAKE, str(one.folder), repr(answers)], env=environment(), stderr=log
        )
    one.exabgp = process
    with process:
        try:
            yield process
        finally:
            one.end()


def test_exabgp_that_says_done_and_keeps_the_route_is_ended(tmp_path: Path) -> None:
    with announcer(tmp_path) as one:
        one.serve()
        with fake(one, STUBBORN) as engine:
            thinker = one.until("it is announced", settled).pid
            os.kill(thinker, signal.SIGSTOP)
            assert engine.wait(DEADLINE_S) == -signal.SIGTERM
            assert "it still has what it was told to withdraw" in one.log
            os.kill(thinker, signal.SIGCONT)
            one.wait_gone(thinker)


def test_a_parent_that_never_answers_is_not_exabgp_and_is_let_be(tmp_path: Path) -> None:
    with announcer(tmp_path) as one, fake(one, None) as engine:
        one.wait_log("parent_is_not_exabgp")
        assert engine.poll() is None


def test_a_lease_that_is_to_keep_the_route_keeps_it(tmp_path: Path) -> None:
    # Nobody can say that another PoP announces: the last one stays, whatever becomes of its thinker.
    with announcer(tmp_path, without_store="hold") as one:
        one.serve()
        with fake(one, STUBBORN) as engine:
            found = one.until("it is announced", settled)
            os.kill(found.pid, signal.SIGSTOP)
            one.wait_log("thinker_wedged")  # long after its lease would have been over
            assert "lease_over" not in one.log
            one.until("another one thinks", lambda now: now.pid != found.pid and settled(now))
            assert engine.poll() is None


def test_what_cannot_be_written_is_said_and_tried_again(tmp_path: Path) -> None:
    with announcer(tmp_path) as one:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "announcer").write_text("in the way")
        with fake(one, STUBBORN) as engine:
            one.wait_log("cannot_announce")
            assert "must be able to make it" in one.log
            assert engine.poll() is None


def test_people_are_told_whose_process_it_is(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        said = subprocess.run(
            [sys.executable, "-m", "gtm.cli.main", "announce", "-C", str(tmp_path)],
            stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False, text=True,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert said.returncode == 1
    assert "gtm announce render --out exabgp.conf" in said.stderr
