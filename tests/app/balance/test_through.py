"""Checks through the VIP, by `gtm balance run` itself: what counts is what clients' packets would meet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gtm.app.balance.capabilities import Capability
from gtm.model.balancing import Standing
from tests import balancing
from tests.app.balance.test_run import PATIENCE_S, PORT, SERVICES, VIP, World, ask, ip, until, world

CHECKS = f"""\
  through: {{tcp: {{port: {PORT}}}, interval: 1s, timeout: 900ms, fall: 3, rise: 1}}
"""


@pytest.fixture(params=["l2", "ipip", "gue"])
def found(request: pytest.FixtureRequest, tmp_path: Path, built: Path) -> Iterator[World]:
    """The world of test_run, whose backends are checked through the VIP; they unwrap what is wrapped."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with world(tmp_path, built) as made:
        services = SERVICES.format(drain="5m").replace("table_size", "check: through\n    through: vip\n    table_size")
        services = services.replace("wrap: l2", f"wrap: {request.param}")
        balancing.write(made.folder, services.replace("mode: generic,", "mode: generic, source: 172.31.0.0/16,"))
        with (made.folder / "probes/checks.yaml").open("a") as file:
            file.write(CHECKS)
        # The VIP is of the subnet here, and its owners keep silent: any neighbour serves as the way out.
        ip(made.hosts["lb"], f"neigh replace {VIP} lladdr 02:00:00:00:00:99 dev eth0")
        if request.param != "l2":
            for name in ("a1", "a2"):
                unwrap(made, name, "10.89.0.1/32" if request.param == "gue" else "172.31.0.0/16")
        yield made


def unwrap(found: World, name: str, source: str) -> None:
    words = ["balance", "decap", "eth0", "--from", source, "--mode", "generic", "--objects", str(found.built)]
    command = [sys.executable, "-m", "gtm.cli.main", *words, "--pins", str(found.pins.parent / name)]
    done = subprocess.run(
        found.hosts[name].command(*command), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr


def filters(found: World) -> str:
    words = found.hosts["lb"].command("tc", "filter", "show", "dev", "eth0", "egress")
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


def test_a_backend_without_the_vip_is_out_though_it_answers_itself(found: World) -> None:
    manager = found.start()
    status = Path(f"/proc/{manager.pid}/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    assert int(effective.split()[1], 16) >> Capability.NET_ADMIN & 1
    assert "gtm_check" in filters(found)
    assert {found.backend(name).standing for name in ("a1", "a2")} == {Standing.ACTIVE}

    ip(found.hosts["a1"], f"addr del {VIP}/32 dev lo")
    until(lambda: found.backend("a1").standing is Standing.OUT, "a1 is out")
    assert found.backend("a1").reason.startswith("DOWN: timeout after 0.9 s while connecting")
    assert found.backend("a1").reason.endswith("(at its own address it is not down)")
    assert found.backend("a2").standing is Standing.ACTIVE
    for _ in range(8):
        with closing(found.connect()) as sock:
            assert ask(sock) == "a2"

    ip(found.hosts["a1"], f"addr add {VIP}/32 dev lo")  # one that is out is asked all the same
    until(lambda: found.backend("a1").standing is Standing.ACTIVE, "a1 is back")
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0
    assert "gtm_check" not in filters(found)
