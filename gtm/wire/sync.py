"""State sync's datagrams: a header of 64 octets, a page, and 16 octets of BLAKE2b (RFC 7693) keyed for one direction.

  0 "gS"  2 version  3 kind  4 section  5 flags  6 words (16)  8 PoP (32)  12 sender (32)
  16 epoch (64)  24 toward (64)  32 number (64)  40 sequence (64)  48 acknowledged (64)  56 table (64)
  64 words, 8 octets each, least significant octet first; then the tag

All else is in network order. Nothing is believed, and next to nothing is looked at, before the tag is right.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from struct import Struct

from gtm.model.sync import PAGE_WORDS_MAX, WORD_BYTES, Datagram, Kind, Page, Section

MAGIC = b"gS"
VERSION = 1
TAG_BYTES = 16
KEY_BYTES = 32
READY = 1
HEADER = Struct("!2sBBBBHIIQQQQQQ")
DIRECTION = Struct("!III")
DATAGRAM_MAX_BYTES = HEADER.size + PAGE_WORDS_MAX * WORD_BYTES + TAG_BYTES
_KINDS = {int(kind): kind for kind in Kind}
_SECTIONS = {int(section): section for section in Section}


class Refusal(StrEnum):
    """Why a datagram is dropped."""

    SHORT = "short"  # or of a size that its header does not tell
    VERSION = "version"
    POP = "pop"
    SENDER = "sender"  # nobody that this instance syncs with
    FORGED = "forged"
    MALFORMED = "malformed"  # the tag is right: it was sent by another release


def digest32(name: str) -> int:
    """A PoP or an instance as datagrams name it."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4, person=b"gtm sync name").digest(), "big")


def digest48(name: str) -> int:
    """A backend as pages name it, by SERVICE/NAME."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6, person=b"gtm sync key").digest(), "big")


def derive(secret: bytes, *, pop: int, sender: int, receiver: int) -> bytes:
    """The key of one direction: what is sent to one instance can be shown neither to another nor to its sender."""
    told = DIRECTION.pack(pop, sender, receiver)
    root = blake2b(secret, digest_size=KEY_BYTES, person=b"gtm sync").digest()
    return blake2b(told, key=root, digest_size=KEY_BYTES, person=b"gtm sync pair").digest()


def encode(one: Datagram, *, pop: int, key: bytes) -> bytes:
    """The datagram as octets, at most DATAGRAM_MAX_BYTES, with its tag."""
    page = one.page
    body = (
        HEADER.pack(
            MAGIC,
            VERSION,
            one.kind,
            page.section,
            READY if one.ready else 0,
            len(page.words) // WORD_BYTES,
            pop,
            one.sender,
            one.epoch,
            one.toward,
            one.number,
            one.sequence,
            one.acknowledged,
            one.table,
        )
        + page.words
    )
    return body + _tag(body, key)


def decode(octets: bytes, *, pop: int, keys: Mapping[int, bytes]) -> Datagram | Refusal:
    """The datagram in `octets`, or why there is none; `keys` are by sender. Never raises, whatever the octets are."""
    if not HEADER.size + TAG_BYTES <= len(octets) <= DATAGRAM_MAX_BYTES:
        return Refusal.SHORT
    magic, version, kind, section, flags, count, of, sender, *numbers = HEADER.unpack_from(octets)
    if magic != MAGIC or version != VERSION:
        return Refusal.VERSION
    if of != pop:
        return Refusal.POP
    key = keys.get(sender)
    if key is None:
        return Refusal.SENDER
    body = octets[:-TAG_BYTES]
    if not hmac.compare_digest(_tag(body, key), octets[-TAG_BYTES:]):
        return Refusal.FORGED
    words = body[HEADER.size :]
    if len(words) != count * WORD_BYTES:
        return Refusal.SHORT
    epoch, toward, number, sequence, acknowledged, table = numbers
    if kind not in _KINDS or section not in _SECTIONS or not (epoch and number):
        return Refusal.MALFORMED
    if (kind == Kind.DATA) != (sequence > 0) or (kind == Kind.DATA) != (section != Section.NONE):
        return Refusal.MALFORMED
    return Datagram(
        kind=_KINDS[kind],
        sender=sender,
        epoch=epoch,
        toward=toward,
        number=number,
        acknowledged=acknowledged,
        table=table,
        sequence=sequence,
        ready=bool(flags & READY),
        page=Page(section=_SECTIONS[section], words=words),
    )


def _tag(body: bytes, key: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=TAG_BYTES).digest()
