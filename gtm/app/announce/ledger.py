"""What ExaBGP may have from us, in a file: a supervisor that was killed leaves to the next one what it must undo."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.app.announce.pipe import Owned
from gtm.app.announce.report import FOLDER
from gtm.model.errors import StoreError
from gtm.publish.dns import sealed

FILE, KIND = "ledger", "announcer-ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The routes of the ExaBGP that is `engine`, and what the lease of their groups was (None: no end)."""

    engine: str
    owned: tuple[Owned, ...] = ()
    leases: Mapping[str, float | None]


def save(state: Path, engine: str, owned: Iterable[Owned], leases: Mapping[str, float | None]) -> None:
    """Replace the ledger. Raises StoreError."""
    document = {
        "engine": engine,
        "owned": [[each.key, each.group, each.undo] for each in owned],
        "leases": dict(leases),
    }
    sealed.write(state / FOLDER / FILE, KIND, json.dumps(document).encode())


def load(state: Path, engine: str) -> Ledger:
    """The ledger of this very ExaBGP; an empty one where there is none, or one of another process."""
    try:
        document = json.loads(bytes(sealed.read(state / FOLDER / FILE, KIND)))
        if document["engine"] == engine:
            owned = tuple(Owned(key=key, group=group, undo=undo) for key, group, undo in document["owned"])
            return Ledger(engine=engine, owned=owned, leases=document["leases"])
    except (StoreError, ValueError, TypeError, KeyError):
        pass
    return Ledger(engine=engine, leases={})
