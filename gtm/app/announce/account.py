"""What an account of this machine may do with files, told from their modes: without becoming that account."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CAP_NET_ADMIN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account: its name, user and group."""

    name: str
    uid: int
    gid: int

    @classmethod
    def find(cls, name: str) -> Account | None:
        """The account of that name, if there is one."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return cls(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)

    @classmethod
    def own(cls) -> Account:
        """The account of this process."""
        uid = os.geteuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return cls(name=name, uid=uid, gid=os.getegid())

    def barred(self, path: Path, *, write: bool = False) -> Path | None:
        """The first of the folders above `path`, or `path` itself, that keeps the account from reading it (or writing).

        None if nothing does. A folder that is to be written, or made, needs the right to make files in it.
        """
        if self.uid == 0:
            return None
        whole = path.resolve()
        for folder in reversed(whole.parents):
            if not self._may(folder, stat.S_IXOTH):
                return folder
        if write and not whole.exists():
            nearest = next(folder for folder in whole.parents if folder.exists())
            return None if self._may(nearest, stat.S_IWOTH | stat.S_IXOTH) else nearest
        wanted = stat.S_IROTH | (stat.S_IWOTH if write else 0) | (stat.S_IXOTH if whole.is_dir() else 0)
        return None if self._may(whole, wanted) else whole

    def _may(self, path: Path, wanted: int) -> bool:
        """Whether the account has the rights `wanted`, given as those of others; what is not there bars nobody."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return (found.st_mode >> shift) & wanted == wanted


def first_barred(account: Account, paths: Iterable[Path]) -> Path | None:
    """The first thing that keeps an account from reading one of the files."""
    return next((barred for path in paths if (barred := account.barred(path)) is not None), None)


def may_set_addresses() -> bool:
    """Whether this process may put addresses on interfaces (CAP_NET_ADMIN)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return os.geteuid() == 0
    found = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(found, 16) >> CAP_NET_ADMIN & 1)
