"""What is rendered from bgp/anycast.yaml, and what ExaBGP, FRR and BIRD themselves say of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.config.deployment import load
from gtm.model.anycast import Anycast, Bfd, Neighbour, Speaker
from gtm.publish.bgp.bfd_conf import render_bfd_bird, render_bfd_frr
from gtm.publish.bgp.exabgp_conf import quoted, render_exabgp

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "bgp" / "exabgp.conf"
SHOWN = "edge1-us-east"
COMMAND = ("/usr/local/bin/gtm", "announce", "run", "-C", "/etc/gtm")
RUNNABLE = ("/bin/cat", "-u")
KEYS = ("s3cret", "with space", "quo\"te'", "hash # ; { }", "back\\slash", "x" * 80, "schlüssel")


@pytest.fixture(scope="module")
def anycast() -> Anycast:
    found = load(TOP).anycast
    assert found is not None
    return found


def changed(speaker: Speaker, **changes: object) -> Speaker:
    """The speaker with the same changes to all its neighbours."""
    neighbours = tuple(replace(each, **changes) for each in speaker.neighbours)  # type: ignore[arg-type]
    return replace(speaker, neighbours=neighbours)


def exabgp_says(text: str, folder: Path) -> str:
    """What `exabgp validate` says of a configuration: nothing if it takes it."""
    pytest.importorskip("exabgp")
    file = folder / "exabgp.conf"
    file.write_text(text)
    command = [sys.executable, "-m", "exabgp", "validate", "--neighbor", str(file)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if outcome.returncode == 0 else outcome.stdout + outcome.stderr


def program(*places: str) -> str:
    """A program of a Debian package, which may not be on PATH."""
    found = next((each for each in (shutil.which(place) for place in places) if each), None)
    if found is None:
        pytest.skip(f"needs {places[0]}")
    return found


def said(*command: str) -> str:
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if outcome.returncode == 0 else outcome.stdout + outcome.stderr


def test_the_example_is_current(anycast: Anycast) -> None:
    rendered = render_exabgp(anycast, anycast.speakers[SHOWN], command=COMMAND)
    assert EXAMPLE.read_text() == rendered, "gtm announce render: bgp/README.md has the command"


def test_exabgp_takes_every_speaker_of_the_reference_deployment(anycast: Anycast, tmp_path: Path) -> None:
    for speaker in anycast.speakers.values():
        assert exabgp_says(render_exabgp(anycast, speaker, command=RUNNABLE), tmp_path) == ""


def test_exabgp_refuses_what_is_wrong(anycast: Anycast, tmp_path: Path) -> None:
    text = render_exabgp(anycast, anycast.speakers[SHOWN], command=RUNNABLE)
    assert exabgp_says(text.replace("hold-time 9", "hold-time 2"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"add_path": True}, ["add-path send;"]),
        ({"graceful_restart_s": 30}, ["graceful-restart 30;"]),
        ({"ttl_security": None}, []),
        ({"ttl_security": 4}, ["outgoing-ttl 255;", "incoming-ttl 252;"]),
        ({"hold_time_s": 65535}, ["hold-time 65535;"]),
        ({"port": 1790}, ["connect 1790;"]),
        ({"asn": 4200000000, "local_asn": 65551}, ["local-as 65551;", "peer-as 4200000000;"]),
    ],
)
def test_exabgp_takes_every_setting(
    changes: Mapping[str, object], lines: list[str], anycast: Anycast, tmp_path: Path
) -> None:
    speaker = changed(anycast.speakers[SHOWN], **changes)
    text = render_exabgp(anycast, speaker, command=RUNNABLE)
    assert exabgp_says(text, tmp_path) == ""
    assert [line for line in lines if f"    {line}\n" not in text] == []
    assert ("No graceful-restart" in text) == ("graceful_restart_s" not in changes)
    assert ("-ttl " in text) == (changes.get("ttl_security", 1) is not None)


@pytest.mark.parametrize("key", KEYS)
def test_exabgp_reads_the_key_that_was_meant(key: str, anycast: Anycast, tmp_path: Path) -> None:
    pytest.importorskip("exabgp")
    speaker = changed(anycast.speakers[SHOWN], md5_file="/etc/gtm/md5")
    text = render_exabgp(anycast, speaker, command=RUNNABLE, secrets={"/etc/gtm/md5": key})
    assert exabgp_says(text, tmp_path) == ""
    reader = """
import base64, sys
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.configuration.configuration import Configuration
log.init(getenv())
configuration = Configuration([sys.argv[1]])
assert configuration.reload(), configuration.error
for neighbour in configuration.neighbors.values():
    key = neighbour["md5-password"]
    print("KEY", (base64.b64decode(key) if neighbour["md5-base64"] else key.encode()).hex())
"""
    command = [sys.executable, "-c", reader, str(tmp_path / "exabgp.conf")]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    read = [bytes.fromhex(line[4:]).decode() for line in outcome.stdout.splitlines() if line.startswith("KEY ")]
    assert read == [key, key]


@pytest.mark.parametrize("key", ["", "x" * 81, "ü" * 41])
def test_a_key_that_tcp_cannot_have_is_refused(key: str, anycast: Anycast) -> None:
    speaker = changed(anycast.speakers[SHOWN], md5_file="/etc/gtm/md5")
    with pytest.raises(ValueError, match="1 to 80 characters"):
        render_exabgp(anycast, speaker, command=RUNNABLE, secrets={"/etc/gtm/md5": key})


def test_without_its_key_a_session_says_where_it_is(anycast: Anycast, tmp_path: Path) -> None:
    text = render_exabgp(anycast, changed(anycast.speakers[SHOWN], md5_file="/etc/gtm/md5"), command=RUNNABLE)
    assert "md5-password" not in text
    assert "/etc/gtm/md5" in text
    assert exabgp_says(text, tmp_path) == ""


def test_words_are_quoted_where_they_must_be() -> None:
    assert quoted("/usr/bin/gtm") == "/usr/bin/gtm"
    assert quoted("/a b") == '"/a b"'
    assert quoted('a"b') == "'a\"b'"
    assert quoted("a\\b;") == '"a\\\\b;"'
    for word in ("\"'", "a\nb", "\x00"):
        with pytest.raises(ValueError, match="cannot be written"):
            quoted(word)


def with_bfd(speaker: Speaker, *bfds: Bfd | None) -> Speaker:
    neighbours: tuple[Neighbour, ...] = tuple(
        replace(each, bfd=bfd) for each, bfd in zip(speaker.neighbours, bfds, strict=True)
    )
    return replace(speaker, neighbours=neighbours)


BFDS = (
    (Bfd(), Bfd()),
    (Bfd(), None),
    (None, None),
    (Bfd(transmit_ms=10, receive_ms=20, multiplier=5), Bfd(transmit_ms=300, receive_ms=1000, multiplier=2)),
)


@pytest.mark.parametrize("bfds", BFDS)
def test_frr_takes_the_bfd(bfds: tuple[Bfd | None, Bfd | None], anycast: Anycast, tmp_path: Path) -> None:
    vtysh = program("vtysh", "/usr/bin/vtysh")
    speaker = with_bfd(anycast.speakers[SHOWN], *bfds)
    file = tmp_path / "frr.conf"
    file.write_text(render_bfd_frr(speaker))
    assert said(vtysh, "-C", "-f", str(file)) == ""
    file.write_text(render_bfd_frr(speaker) + "bfd\n peer nowhere\n")
    assert said(vtysh, "-C", "-f", str(file))


@pytest.mark.parametrize("bfds", BFDS[:-1])
def test_bird_takes_the_bfd(bfds: tuple[Bfd | None, Bfd | None], anycast: Anycast, tmp_path: Path) -> None:
    bird = program("bird", "/usr/sbin/bird")
    speaker = with_bfd(anycast.speakers[SHOWN], *bfds)
    file = tmp_path / "bird.conf"
    file.write_text(render_bfd_bird(speaker))
    assert said(bird, "-p", "-c", str(file)) == ""
    file.write_text(render_bfd_bird(speaker) + "protocol bfd { neighbor nowhere; }\n")
    assert said(bird, "-p", "-c", str(file))


def test_bird_cannot_tell_neighbours_apart(anycast: Anycast) -> None:
    with pytest.raises(ValueError, match="transit-a, transit-b must have the same, or use FRR"):
        render_bfd_bird(with_bfd(anycast.speakers[SHOWN], *BFDS[-1]))


def test_neighbours_without_bfd_are_not_in_it(anycast: Anycast) -> None:
    first, second = (each.address for each in anycast.speakers[SHOWN].neighbours)
    speaker = with_bfd(anycast.speakers[SHOWN], Bfd(), None)
    for text in (render_bfd_frr(speaker), render_bfd_bird(speaker)):
        assert str(first) in text
        assert str(second) not in text
    assert ip_address("198.51.100.1") == first
