"""The compiled answer table: everything a query needs, worked out before it comes.

A table is immutable. Publishing replaces it by another; a query reads the pointer once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gtm.answer.authority import Authority
from gtm.model.classes import ClassTable
from gtm.model.node import Identity


class SteeredSet(NamedTuple):
    """The answers of one (name, type), shared by all names that steer alike.

    rtype    1 A, 28 AAAA or 5 CNAME
    rings    rings of ready answers; a slot is the RRs in wire form, each `c00c type IN ttl rdlength rdata` with the
             owner a pointer to the question's name; b"" is no data. The slots of a ring carry the weights.
    orders   ring number by class
    located  whether the ring depends on the class: if not, the ECS scope is 0
    """

    rtype: int
    rings: tuple[tuple[bytes, ...], ...]
    orders: Sequence[int]
    located: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """One revision's answers.

    `names` is the fast path's index: lower-case wire name + type + class IN -> index into `sets`; `key` is the secret
    that client networks are hashed with, and `static` the fast path's ready answers for static data, by question.
    """

    revision: int
    key: int
    authority: Authority
    names: Mapping[bytes, int]
    sets: Sequence[SteeredSet]
    classes: ClassTable
    identity: Identity
    static: dict[bytes, tuple[tuple[bytes, bytes], bytes]]
