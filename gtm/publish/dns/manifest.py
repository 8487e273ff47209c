"""The manifest: which files are the current tables. It is replaced last, so what it names is complete."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.model.node import Identity
from gtm.publish.dns.sealed import replace

FOLDER = "tables"
FILE = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The current tables, as file names in the tables folder, and the few values that go with them.

    `published_at_s` is the wall clock at publishing; `key` is the secret of weighted choices.
    """

    revision: int
    published_at_s: float
    key: int
    authority: str
    classes: str
    answers: str
    deployment: str
    identity: Identity

    def save(self, folder: Path) -> None:
        """Make this the current manifest of a tables folder. Raises StoreError."""
        replace(folder / FILE, json.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The current manifest of a tables folder. Raises StoreError where there is none or it makes no sense."""
        path = folder / FILE
        try:
            fields = json.loads(path.read_bytes())
            return cls(**fields | {"identity": Identity(**fields["identity"])})
        except FileNotFoundError:
            raise StoreError(f"{path}: nothing has been published here yet") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path}: not a manifest: {error}") from error
