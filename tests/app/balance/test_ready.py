from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app.balance.ready import Ready
from gtm.model.check import Check, FileProbe, Target
from gtm.model.errors import StoreError
from gtm.observe.outcome import Outcome
from gtm.observe.probe import prepare


def probed(file: Path) -> Outcome:
    """What `gtm announce` makes of the file by a check of kind `file`."""
    check = Check(name="ready", probe=FileProbe(path=str(file), ttl_s=5.0))

    async def asked() -> Outcome:
        return await prepare(Target(check="ready", address=ip_address("127.0.0.1")), check)()

    return asyncio.run(asked())


def test_what_an_announcer_reads(tmp_path: Path) -> None:
    file = tmp_path / "made" / "ready"
    ready = Ready(file)
    bulk: list[str | None] = ["bulk transfer at 3 %"]
    ready.against("tables", "not written yet")
    ready.gate("sync", lambda: bulk[0])
    ready.pulse()
    assert not probed(file).ok
    assert file.read_text() == "down tables: not written yet\n"
    ready.against("tables", None)
    ready.pulse()
    assert file.read_text() == "down sync: bulk transfer at 3 %\n"
    bulk[0] = None
    ready.pulse()
    assert probed(file).ok
    ready.leave("is told to go")
    assert not probed(file).ok
    assert file.read_text() == "down manager: is told to go\n"


def test_nobody_asks() -> None:
    ready = Ready(None)
    ready.pulse()
    ready.leave("end")
    assert ready.unready == "manager: end"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    ready = Ready(tmp_path / "taken" / "ready")
    with pytest.raises(StoreError, match="taken: File exists"):
        ready.pulse()
    ready.leave("detached")  # and is no reason not to go
