"""ExaBGP's configuration of a speaker (5.0; what is written here 4.2 reads, too)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence

from gtm.model.anycast import Anycast, Neighbour, Speaker

PROCESS = "gtm"
KEY_MAX = 80  # of TCP MD5, as Linux has it
TTL_MAX = 255

_BARE = re.compile(r"[A-Za-z0-9_./:@=+%-]+")
_GRACEFUL_RESTART_OFF = """\
    # No graceful-restart: with it, routes outlive a speaker that died, and attract traffic to nothing until the
    # restart time is over. What a drain needs is GRACEFUL_SHUTDOWN (RFC 8326), which the ladder sends."""


def render_exabgp(
    anycast: Anycast, speaker: Speaker, *, command: Sequence[str], secrets: Mapping[str, str] | None = None
) -> str:
    """The text of exabgp.conf: the process that is `command`, and a neighbour for each session.

    `secrets` has the keys of TCP MD5 by `md5_file`; a file that is not in it has its key left out, with a comment.
    Raises ValueError for what ExaBGP's configuration cannot say.
    """
    services = ", ".join(service.name for service in anycast.served_by(speaker)) or "nothing"
    lines = [
        f"# ExaBGP's configuration of {speaker.node} in {speaker.region}, which announces {services}.",
        "# Rendered from bgp/anycast.yaml by `gtm announce render`: change it there.",
        "# Routes are not here: ExaBGP starts the process below, which announces and withdraws them.",
        "",
        f"process {PROCESS} {{",
        f"    run {' '.join(map(quoted, command))};",
        "    encoder json;",
        "}",
    ]
    for neighbour in speaker.neighbours:
        lines += ["", *_neighbour(speaker, neighbour, secrets or {})]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A word of ExaBGP's configuration, in quotes if need be. Raises ValueError if no quotes can hold it."""
    if _BARE.fullmatch(text):
        return text
    quote = "'" if '"' in text else '"'
    if quote in text or not text.isprintable():
        raise ValueError(f"{text!r} cannot be written in ExaBGP's configuration")
    escaped = text.replace("\\", "\\\\")
    return f"{quote}{escaped}{quote}"


def _neighbour(speaker: Speaker, neighbour: Neighbour, secrets: Mapping[str, str]) -> Iterator[str]:
    yield f"neighbor {neighbour.address} {{"
    yield f'    description "{neighbour.name}";'
    yield f"    router-id {speaker.router_id};"
    yield f"    local-address {neighbour.local_address};"
    yield f"    local-as {neighbour.local_asn};"
    yield f"    peer-as {neighbour.asn};"
    yield f"    hold-time {neighbour.hold_time_s};"
    if neighbour.port != 179:
        yield f"    connect {neighbour.port};"
    if neighbour.md5_file is not None:
        yield from _md5(neighbour.md5_file, secrets)
    if neighbour.ttl_security is not None:
        yield "    # GTSM (RFC 5082): we send 255, and take nothing that came from farther away."
        yield f"    outgoing-ttl {TTL_MAX};"
        yield f"    incoming-ttl {TTL_MAX + 1 - neighbour.ttl_security};"
    yield "    # What was told is read back; what the neighbour tells is not kept, which may be a full table."
    yield "    adj-rib-out true;"
    yield "    adj-rib-in false;"
    yield "    family {"
    for family in neighbour.families:
        yield f"        {family};"
    yield "    }"
    if neighbour.graceful_restart_s is None:
        yield _GRACEFUL_RESTART_OFF
    yield "    capability {"
    yield "        route-refresh enable;"
    if neighbour.add_path:
        yield "        add-path send;"
    if neighbour.graceful_restart_s is not None:
        yield f"        graceful-restart {neighbour.graceful_restart_s};"
    yield "    }"
    yield "    api {"
    yield f"        processes [ {PROCESS} ];"
    yield "        neighbor-changes;"
    yield "    }"
    yield "}"


def _md5(file: str, secrets: Mapping[str, str]) -> Iterator[str]:
    """The key of TCP MD5 (RFC 2385); in base64 where its characters have a meaning in the configuration."""
    key = secrets.get(file)
    if key is None:
        yield f"    # The key of TCP MD5 is in {file}: gtm announce render --out FILE puts it here."
        return
    if not 1 <= len(key.encode()) <= KEY_MAX:
        raise ValueError(f"{file}: a key of TCP MD5 has 1 to {KEY_MAX} characters")
    if _BARE.fullmatch(key):
        yield f'    md5-password "{key}";'
    else:
        yield f'    md5-password "{base64.b64encode(key.encode()).decode()}";'
        yield "    md5-base64 true;"
