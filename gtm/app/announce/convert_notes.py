"""Options of healthcheck.py for which there is nothing to write, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gtm.app.announce.healthcheck import Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An option, without its dashes, and what to know about it."""

    option: str
    message: str


_PROGRAM = "gtm starts no program when a state changes; gtm status --json and its metrics say what happened"
_LOG = "gtm logs lines of JSON or text to standard error, which ExaBGP and systemd keep"
_PLAIN = {
    "silent": _LOG,
    "syslog-facility": _LOG,
    "no-syslog": _LOG,
    "debug": _LOG,
    "pid": "ExaBGP knows the process that it starts",
    "no-ack": "gtm waits for ExaBGP's answers, and needs exabgp.api.ack=true, which is the default",
    "sudo": "addresses need CAP_NET_ADMIN: exabgp.daemon.user=root, or AmbientCapabilities of systemd",
    "user": "the announcer stays who ExaBGP is (exabgp.daemon.user): it must take addresses away at the end, too",
    "group": "as --user",
    "debounce": "is always so: gtm tells ExaBGP of changes only, and reads back what it announces",
    "label-exact-match": "as --label",
    "execute": _PROGRAM,
    "up-execute": _PROGRAM,
    "down-execute": _PROGRAM,
    "disabled-execute": _PROGRAM,
}


def notes(told: Healthcheck) -> Iterator[Note]:
    """What is to be known about the options that were given, in the order of their names."""
    for option in sorted(told.given & _PLAIN.keys()):
        yield Note(option=option, message=_PLAIN[option])
    if told.command is None:
        yield Note(
            option="command", message="without it the service is always UP; here, too, unless it has local or pool"
        )
    if told.label is not None:
        message = "gtm goes by the addresses that are declared; those that it puts on have its own label, INTERFACE:gtm"
        yield Note(option="label", message=message)
    if told.next_hop is not None:
        message = f"next_hop: {told.next_hop} belongs to the neighbours of the speaker"
        yield Note(option="next-hop", message=message)
    if told.neighbors and "*" not in told.neighbors:
        message = (
            f"a speaker tells all its neighbours, not only {', '.join(told.neighbors)}; what one of them does with it "
            "is said by a word of its provider, such as one for no-export"
        )
        yield Note(option="neighbor", message=message)
    if told.path_id is not None:
        message = "add_path: true of a session; the number itself cannot be chosen"
        yield Note(option="path-id", message=message)
    if told.ip_setup and not told.ip_dynamic:
        message = "as if it were given: gtm takes addresses away when it has withdrawn, and puts them back to announce"
        yield Note(option="dynamic-ip-setup", message=message)
    if told.disable is not None and not told.disable.startswith("/"):
        message = f"{told.disable} was relative to ExaBGP's folder; here it is to the deployment's"
        yield Note(option="disable", message=message)
    if len(told.ips) > 1 and told.increase and not told.given & {"increase", "start-ip"}:
        message = (
            "each further address would have a MED of one more; here all prefixes of a service have the same. "
            "Give --increase 1 to have a service for each"
        )
        yield Note(option="increase", message=message)
