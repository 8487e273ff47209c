"""One server's turn: start, first right answer, checking pass, two loads at full rate, one at half of what it did."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import Outcome
from bench.machine import CpuTime, cpu_time
from bench.netns import SERVER, Arena, ArenaError, run
from bench.peers.server import LOAD_CPU, PORT, Server, Site
from bench.question import NAME, SOURCES

ADDRESS = f"{SERVER}:{PORT}"


class WrongAnswers(Exception):
    """A server did not answer as the database says: its figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A load at full rate: what was offered and answered per second, and what the answers cost the serving process.

    `waited` is the share of the time in which the server was ready to run but other programs had its core, `ran` the
    share in which it ran.
    """

    offered_per_s: float
    answers_per_s: float
    answers_per_cpu_s: float
    ran: float
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """All that one turn of one server gave."""

    start_s: float
    checked: int
    plain: Rate
    ecs: Rate
    ecs_checked: int
    half_rate: int
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What every turn has in common: namespaces, files of queries, the database, rates and durations."""

    arena: Arena
    plain: Path
    ecs: Path
    database: Path
    regions24: Path
    continents: Mapping[str, str]
    rate: int
    seconds: float
    checks: int

    def turn(self, server: Server, say: Callable[[str], None]) -> Turn:
        """Let a server run its turn; it is stopped afterwards whatever happens."""
        with tempfile.TemporaryDirectory(prefix=f"gtm-bench-{server.tag}-") as folder:
            Path(folder).chmod(0o755)  # a server that drops privileges still reads its files
            try:
                server.start(
                    Site(
                        arena=self.arena,
                        folder=Path(folder),
                        database=self.database,
                        regions24=self.regions24,
                        continents=self.continents,
                    )
                )
                return self._measure(server, say)
            except ArenaError as error:
                raise ArenaError(f"{server.title}: {error}\n{_tail(Path(folder) / 'log')}") from error
            finally:
                server.stop()
                self.arena.clear()

    def _client(self, module: str, *arguments: str) -> list[str]:
        return self.arena.inside(self.arena.client, sys.executable, "-m", module, *arguments, cpu=LOAD_CPU)

    def _measure(self, server: Server, say: Callable[[str], None]) -> Turn:
        say("start")
        first_s = self._first_answer(server)
        server.settle()
        say("check")
        checked = self._check(server, self.plain, "source") + self._check(server, self.ecs, "ecs")
        say("plain load")
        plain = self._plain(server)
        say("ECS load")
        ecs, replies = self._ecs(server)
        half_rate = max(100, int(ecs.answers_per_s / 2))
        say(f"latency at {half_rate} queries/s")
        half = self._load(server, half_rate)
        return Turn(
            start_s=first_s,
            checked=checked,
            plain=plain,
            ecs=ecs,
            ecs_checked=replies + half.replies,
            half_rate=half_rate,
            p50_us=half.p50_us or float("nan"),
            p99_us=half.p99_us or float("nan"),
        )

    def _first_answer(self, server: Server) -> float:
        """Seconds until the first right answer. Raises ArenaError if the server dies, or takes too long."""
        command = self._client("bench.ask", str(self.ecs), ADDRESS, "--wait", f"{server.start_limit_s:g}")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
            while waiting.poll() is None:
                if server.process is None or server.process.poll() is not None:
                    waiting.kill()
                    raise ArenaError("the server ended before it answered; its log ends:")
                time.sleep(0.05)
            printed = waiting.stdout.read() if waiting.stdout is not None else b""
        if waiting.returncode:
            raise ArenaError(f"no right answer within {server.start_limit_s:g} s; its log ends:")
        return float(json.loads(printed)["first_answer_s"])

    def _check(self, server: Server, file: Path, by: str) -> int:
        command = self._client("bench.ask", str(file), ADDRESS, "--by", by, "--limit", str(self.checks))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if not done.stdout:
            raise ArenaError(f"the checking pass failed: {done.stderr[-2000:]}")
        found = json.loads(done.stdout)
        if found["wrong"]:
            raise WrongAnswers(
                f"{server.title}: {found['wrong']} of {found['asked']} answers wrong (client by {by}):\n  "
                + "\n  ".join(found["faults"])
            )
        return int(found["asked"])

    def _plain(self, server: Server) -> Rate:
        """The load of kxdpgun: queries without EDNS, from addresses all over SOURCES; all replies must be NOERROR."""
        with tempfile.NamedTemporaryFile("w", suffix=".queries") as queries:
            queries.write(f"{NAME} A\n")
            queries.flush()
            command = ["kxdpgun", "-F", LOAD_CPU, "-I", self.arena.client_if, "-p", str(PORT), "-Q", str(self.rate)]
            command += ["-t", f"{self.seconds:g}", "-l", str(SOURCES), "-i", queries.name, SERVER]
            before = cpu_time(server.serving_pids())
            limit_s = self.seconds + 30
            text = run(self.arena.inside(self.arena.client, *command, cpu=LOAD_CPU), limit_s=limit_s)
            used = cpu_time(server.serving_pids()) - before
        sent, replies = _number(text, "total queries"), _number(text, "total replies")
        if _number(text, "responded NOERROR") != replies:
            raise WrongAnswers(f"{server.title}: kxdpgun saw other codes than NOERROR:\n{text}")
        return _rate(sent, replies, self.seconds, used)

    def _ecs(self, server: Server) -> tuple[Rate, int]:
        before = cpu_time(server.serving_pids())
        outcome = self._load(server, self.rate)
        used = cpu_time(server.serving_pids()) - before
        in_time = round(outcome.answers_per_s * outcome.seconds)
        rate = _rate(outcome.sent, in_time, outcome.seconds, used, replies=outcome.replies)
        return rate, outcome.replies

    def _load(self, server: Server, rate: int) -> Outcome:
        length = ["--rate", str(rate), "--seconds", f"{self.seconds:g}"]
        command = self._client("bench.load", str(self.ecs), ADDRESS, *length)
        outcome = Outcome(**json.loads(run(command, limit_s=self.seconds + 30)))
        if outcome.wrong or outcome.unknown:
            raise WrongAnswers(
                f"{server.title}: {outcome.wrong} of {outcome.replies} replies wrong under load, "
                f"{outcome.unknown} never asked for; the first wrong one: {outcome.wrong_sample}"
            )
        return outcome


def _rate(sent: int, in_time: int, seconds: float, used: CpuTime, replies: int | None = None) -> Rate:
    return Rate(
        offered_per_s=sent / seconds,
        answers_per_s=in_time / seconds,
        answers_per_cpu_s=(in_time if replies is None else replies) / (used.run_ns / 1e9) if used.run_ns else 0.0,
        ran=used.run_ns / 1e9 / seconds,
        waited=used.wait_ns / 1e9 / seconds,
    )


def _number(text: str, label: str) -> int:
    found = re.search(rf"^{label}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""
