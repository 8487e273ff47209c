"""`gtm announce render`: ExaBGP's configuration of a speaker, or that of BFD beside it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gtm.app.announce.speaker import find_speaker
from gtm.model.anycast import Speaker
from gtm.model.errors import GtmError
from gtm.publish.bgp.bfd_conf import render_bfd_bird, render_bfd_frr
from gtm.publish.bgp.exabgp_conf import render_exabgp
from gtm.web.document import as_object

SECRET_MODE, OPEN_MODE = 0o600, 0o644
KEY_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A configuration: whose, of what (exabgp, frr or bird), where it was written (None: nowhere), and its text.

    The text is None where it holds keys of TCP MD5 and went into a file.
    """

    node: str
    kind: str
    file: str | None
    secret: bool
    text: str | None


def render(
    folder: Path, *, node: str | None = None, bfd: str | None = None, out: Path | None = None, run: str | None = None
) -> Rendered:
    """Render, and write if `out` says where: a file with keys in it is readable by its owner alone.

    Without `out` keys are left out. `run` is what ExaBGP is to start, as in a shell; this gtm on this folder by
    default. Raises ConfigErrors, AskedError, GtmError.
    """
    found = find_speaker(folder, node)
    speaker = found.speaker
    secrets: dict[str, str] = {}
    try:
        if bfd is not None:
            text = render_bfd_frr(speaker) if bfd == "frr" else render_bfd_bird(speaker)
        else:
            secrets = {} if out is None else read_keys(speaker)
            command = announcer(folder) if run is None else shlex.split(run)
            text = render_exabgp(found.anycast, speaker, command=command, secrets=secrets)
    except ValueError as error:
        raise GtmError(str(error)) from error
    if out is not None:
        write(out, text, SECRET_MODE if secrets else OPEN_MODE)
    return Rendered(
        node=speaker.node,
        kind="exabgp" if bfd is None else bfd,
        file=None if out is None else str(out),
        secret=bool(secrets),
        text=None if secrets else text,
    )


def announcer(folder: Path) -> Sequence[str]:
    """The command line that announces as `folder` says, by the gtm that runs now."""
    beside = Path(sys.executable).parent / "gtm"
    program = str(beside) if beside.exists() else shutil.which("gtm")
    start = [sys.executable, "-m", "gtm.cli.main"] if program is None else [program]
    return [*start, "announce", "run", "-C", str(folder.resolve())]


def read_keys(speaker: Speaker) -> dict[str, str]:
    """The keys of TCP MD5 by file: each file's text without white space around it. Raises GtmError."""
    keys: dict[str, str] = {}
    for file in sorted({each.md5_file for each in speaker.neighbours if each.md5_file is not None}):
        try:
            with Path(file).open("rb") as opened:
                key = opened.read(KEY_BYTES_MAX).decode("utf-8").strip()
        except OSError as error:
            raise GtmError(f"{file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise GtmError(f"{file}: is not text") from error
        if not key:
            raise GtmError(f"{file}: is empty, and should hold a key")
        keys[file] = key
    return keys


def write(path: Path, text: str, mode: int) -> None:
    """Put a file in place whole or not at all; it never has more rights than `mode`. Raises GtmError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, mode)
                file.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error


def rendered_document(rendered: Rendered) -> dict[str, object]:
    """What was rendered, as JSON."""
    return as_object(rendered)


def rendered_text(rendered: Rendered) -> str:
    """The configuration itself, or where it went."""
    if rendered.file is None:
        return (rendered.text or "").rstrip("\n")
    secret = ", which holds keys: its owner alone can read it" if rendered.secret else ""
    return f"{rendered.file}: written{secret}"
