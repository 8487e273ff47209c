"""Names as people write them: labels of regions, checks and pools; owners, hosts and zones of the DNS (RFC 1035)."""

from __future__ import annotations

import re

from gtm.config.scalars import Unfit, shown

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_DNS_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]+(?<!-)")
LABEL_ALLOWED = "1 to 63 of a-z, 0-9, - and _, with a letter or digit at both ends"


def label(value: object) -> str:
    """The name of a region, check, pool or node."""
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} cannot be a name", LABEL_ALLOWED)


def absolute(value: object, *, wildcard: bool = False) -> str:
    """An absolute name in lower case with its trailing dot; `*` as the first label only if `wildcard`.

    Letters, digits, hyphens inside a label, and underscores; labels up to 63 octets, names up to 255 (RFC 1035 2.3.4).
    """
    if not isinstance(value, str) or not value.endswith("."):
        raise Unfit(f"{shown(value)} is not an absolute name", "a name that ends with a dot")
    labels = value[:-1].split(".")
    for position, each in enumerate(labels):
        if not (wildcard and position == 0 and each == "*"):
            _check_label(each, value)
    if len(value) + 1 > 255:
        raise Unfit(f"the name is {len(value) + 1} octets long", "names up to 255 octets")
    return value.lower()


def owner(value: object, zone: str) -> str:
    """The absolute owner that `value` means in `zone` (itself absolute): relative, absolute inside it, or "@"."""
    if not isinstance(value, str) or not value:
        raise Unfit(f"{shown(value)} is not an owner name", 'a name such as www, "*.cdn" or "@"')
    if value == "@":
        return zone
    full = absolute(value if value.endswith(".") else f"{value}.{zone}", wildcard=True)
    if not inside(full, zone):
        raise Unfit(f"{full} is outside the zone", f"names inside {zone}")
    return full


def inside(name: str, zone: str) -> bool:
    """Whether a name is the zone's apex or below it."""
    return name == zone or name.endswith(f".{zone}")


def _check_label(text: str, name: str) -> None:
    """Raises Unfit unless the label is one of a host name, underscores included."""
    if not text:
        raise Unfit(f"{shown(name)} has an empty label", "no two dots in a row")
    if len(text) > 63:
        raise Unfit(f"the label {shown(text)} is {len(text)} octets long", "labels up to 63 octets")
    if text == "*":
        raise Unfit(f"{shown(name)} has a * that is no wildcard here", "* only as the whole first label of an owner")
    if not text.isascii():
        raise Unfit(f"the label {shown(text)} is not ASCII", "its punycode form (xn--...)")
    if not _DNS_LABEL.fullmatch(text):
        raise Unfit(f"the label {shown(text)} is not one of a host name", "letters, digits, _, and - inside a label")
