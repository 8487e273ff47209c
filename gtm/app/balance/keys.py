"""What follows from the secret that a PoP's balancers share: they decide alike, and nobody else can say how."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gtm.model.balance import Secret
from gtm.model.errors import GtmError

LEAST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """`seed` of the packets' hash (two words of 64 bits), `maglev` and `sync` of 32 octets."""

    seed: tuple[int, int]
    maglev: bytes
    sync: bytes

    @classmethod
    def of(cls, secret: bytes) -> Keys:
        """The keys of a secret, one independent of the other (BLAKE2b, RFC 7693, personalised)."""
        seed = _derived(secret, b"gtm l4 seed")
        return cls(
            seed=(int.from_bytes(seed[:8], "little"), int.from_bytes(seed[8:16], "little")),
            maglev=_derived(secret, b"gtm l4 maglev"),
            sync=_derived(secret, b"gtm l4 sync"),
        )


def read_secret(secret: Secret, folder: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """The secret, without white space around it; a file's path is from the deployment folder. Raises GtmError."""
    if secret.file is not None:
        path = folder / secret.file
        try:
            found, where = path.read_bytes().strip(), str(path)
        except OSError as error:
            raise GtmError(f"{path}: {error.strerror}: it has the secret that the balancers of a PoP share") from error
    else:
        where = f"the environment's {secret.env}"
        found = environment.get(secret.env or "", "").encode().strip()
    if len(found) < LEAST_BYTES:
        raise GtmError(f"{where}: a secret of {len(found)} octets; at least {LEAST_BYTES} (openssl rand -hex 32)")
    return found


def _derived(secret: bytes, person: bytes) -> bytes:
    # The key is hashed first: BLAKE2b takes one of 64 octets at most.
    return blake2b(key=blake2b(secret).digest(), digest_size=32, person=person).digest()
