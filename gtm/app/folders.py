"""Where a deployment folder's node keeps its state: found even while an edit makes the deployment unreadable."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from gtm.model.errors import GtmError
from gtm.model.node import Node

# Only this one line matters here, and it must be found in a file that need not be sound YAML any more.
_STATE = re.compile(
    r"""^state_folder:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s#"'][^#\n]*?))[ \t]*(?:#.*)?$""", re.MULTILINE
)
_DEFAULT = str(Node.__dataclass_fields__["state"].default)


def state_folder(folder: Path) -> Path:
    """The state folder of a deployment folder, whether or not it exists. Raises GtmError for what is no folder."""
    if not folder.is_dir():
        raise GtmError(f"{folder}: is not a folder; -C DIR names a deployment folder")
    try:
        text = (folder / "gtm.yaml").read_text("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise GtmError(f"{folder / 'gtm.yaml'}: {error.strerror}") from error
    found = _STATE.search(text)
    named = next((part for part in found.groups() if part), _DEFAULT) if found else _DEFAULT
    return (folder / named).resolve()


def cache_folder(state: Path) -> Path:
    """A folder to keep costly results in for one who only looks: the node's own, else the account's, else a new one."""
    own = state / "cache"
    if own.is_dir() and os.access(own, os.W_OK):
        return own
    base = os.environ.get("XDG_CACHE_HOME")
    account = (Path(base) if base else Path.home() / ".cache") / "gtm"
    try:
        account.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="gtm-cache-"))
    return account if os.access(account, os.W_OK) else Path(tempfile.mkdtemp(prefix="gtm-cache-"))


def store_file(state: Path) -> Path:
    """The store in a state folder; it may not exist yet."""
    return state / "store.db"


def shared_file(state: Path) -> Path:
    """What was last known of the store that nodes share, in a state folder; it may not exist."""
    return state / "shared"
