"""What people ordered: drains and forced states, with owner, reason and time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

SUBJECT_FORMS = (
    "region/REGION, pool/ZONE/POOL, instance/REGION/LABEL, LABEL being an address or a host name, speaker/NODE, or "
    "backend/SERVICE/NAME"
)
_FORMS = {"region": 1, "pool": 2, "instance": 2, "speaker": 1, "backend": 2}
_PART = re.compile(r"[\x21-\x2e\x30-\x7e]{1,255}")  # printable ASCII without spaces and slashes


class Action(StrEnum):
    """What a person wants of a subject."""

    DRAIN = "drain"
    FORCE_UP = "force-up"
    FORCE_DOWN = "force-down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an override is about.

    Written `region/REGION`, `pool/ZONE/POOL`, `instance/REGION/LABEL` (LABEL as in Instance.label; it covers that
    instance in every pool), `speaker/NODE` (what that node announces by BGP), or `backend/SERVICE/NAME` (of
    dataplane/services.yaml). `kind` is the word before the first slash, `name` the rest.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """The subject that people mean by a text, in the spelling that deployments use.

        Zones and host names become lower-case, zones lose their trailing dot, host names get it, addresses are
        written the one way. Raises ValueError that says what is allowed. Whether it exists is not known here.
        """
        kind, *parts = text.split("/")
        if _FORMS.get(kind) != len(parts) or not all(map(_PART.fullmatch, parts)):
            raise ValueError(f"{text!r} is not a subject (allowed: {SUBJECT_FORMS})")
        match kind:
            case "pool":
                parts[0] = parts[0].lower().rstrip(".")
                if not parts[0]:
                    raise ValueError(f"{text!r} names no zone (allowed: {SUBJECT_FORMS})")
            case "instance":
                parts[1] = _label(parts[1])
        return cls(kind=kind, name="/".join(parts))


def _label(text: str) -> str:
    """An instance's label as Instance.label writes it."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text.lower().rstrip(".") + "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One standing order. `until_s` None means until it is taken back; times are seconds since the epoch."""

    subject: Subject
    action: Action
    owner: str
    reason: str
    since_s: float
    until_s: float | None = None

    def active(self, now_s: float) -> bool:
        """Whether the order still stands at `now_s`."""
        return self.until_s is None or now_s < self.until_s
